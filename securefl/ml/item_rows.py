"""Which slices of a model's parameters stand for which items, and how they pass to other items.

Next month's catalogue has other products, in another order, and codes of its own for categories and
brands. A parameter is carried over slice by slice: a code passes to the code that most common items
have now; a code without a common item starts from the mean of its family; all else starts anew.
Every party computes this, and compares digests, so that sums are taken in a fixed order in float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Block:
    """Slices of a parameter, one for each code of the items.

    Attributes:
        codes: Code of each item, int64 [P].
        size: Number of codes, whether an item has each of them or not.
    """

    codes: Ints
    size: int

    @classmethod
    def of(cls, codes: Tensor) -> Block:
        """Return the block of codes that all occur, int64 [P]."""
        found = codes.cpu().numpy().astype(np.int64)
        return cls(found, int(found.max(initial=-1)) + 1)

    @classmethod
    def of_items(cls, count: int) -> Block:
        """Return the block with a slice for each of `count` items."""
        return cls(np.arange(count), count)


@dataclass(frozen=True)
class Axis:
    """A parameter's dimension that counts codes of items.

    Attributes:
        dimension: The dimension.
        blocks: What stands along it, one after the other.
    """

    dimension: int
    blocks: tuple[Block, ...]


Axes = Mapping[str, Axis]
"""Parameter to its dimension of codes; of a parameter that is not named, none is one."""


@runtime_checkable
class HasItemAxes(Protocol):
    """A module that knows which of its parameters' slices belong to which items."""

    def item_axes(self) -> dict[str, Axis]:
        """Return its axes by name of parameter."""


@dataclass(frozen=True)
class ItemRows:
    """Which slices of a model stand for which items.

    Attributes:
        items: Item ids, int64 [P]; -1 is everything that has no id.
        families: Codes of the items' families, int64 [P] each, the widest first.
        axes: See `Axes`.
        customers: Local parameters with a row for each of the member's customers.
    """

    items: Ints
    families: tuple[Ints, ...] = ()
    axes: Axes = field(default_factory=dict)
    customers: frozenset[str] = frozenset()

    @classmethod
    def without_items(cls) -> ItemRows:
        """Return those of a model of which no slice stands for an item."""
        return cls(np.zeros(0, dtype=np.int64))


@dataclass(frozen=True)
class Passage:
    """From one month's items to another's.

    Attributes:
        before: The slices of the model that is carried over.
        after: Those of the model that it is carried into.
        common: Places of the common items, before and after, int64 [C] each.
    """

    before: ItemRows
    after: ItemRows
    common: tuple[Ints, Ints]

    def carried(self, name: str, value: Tensor, fresh: Tensor) -> Tensor:
        """Return a parameter of the new shape, with what is known in it.

        Args:
            name: The parameter.
            value: Its value before.
            fresh: What unknown slices start from; its shape is the new one.

        Raises:
            ValueError: If the two are not of the same model.
        """
        old, new = self.before.axes.get(name), self.after.axes.get(name)
        if old is None or new is None or old.dimension != new.dimension:
            if old is not new or value.shape != fresh.shape:
                raise ValueError(f"{name} is {list(value.shape)}, not {list(fresh.shape)}")
            return value
        if len(old.blocks) != len(new.blocks):
            raise ValueError(f"{name} has other features")
        rows = _rows(value, old)
        into = _rows(fresh, new).copy()
        if rows.shape[1:] != into.shape[1:]:
            raise ValueError(f"{name} is {list(value.shape)}, not {list(fresh.shape)}")
        at, to = 0, 0
        for one, other in zip(old.blocks, new.blocks, strict=True):
            part, known = self._block(one, other, rows[at : at + one.size])
            into[to : to + other.size][known] = part[known]
            at, to = at + one.size, to + other.size
        moved = torch.from_numpy(into.astype(np.float32)).movedim(0, new.dimension)
        return moved.to(fresh.dtype).contiguous()

    def _block(
        self, old: Block, new: Block, rows: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Return the slices of a block, float64 [new size, ...], and which are known, bool."""
        code, source = self._edges(old, new)
        total = np.zeros((new.size, *rows.shape[1:]))
        np.add.at(total, code, rows[source])
        count = np.bincount(code, minlength=new.size)
        shape = (-1, *[1] * (rows.ndim - 1))
        return total / np.maximum(count, 1).reshape(shape), count > 0

    def _edges(self, old: Block, new: Block) -> tuple[Ints, Ints]:
        """Return from which old slices each new one is the mean, as pairs, int64 [E] each."""
        before, after = self.common
        code, source = _most_common(new.codes[after], old.codes[before])
        codes, sources = [code], [source]
        for one in np.setdiff1d(new.codes, code).tolist():
            members = self._kin((new.codes == one).nonzero()[0])
            codes.append(np.full(len(members), one))
            sources.append(old.codes[members])
        return np.concatenate(codes), np.concatenate(sources)

    def _kin(self, items: Ints) -> Ints:
        """Return the common items of the smallest family of some items, as places before."""
        # A level that the catalogue leaves empty is one family of all: the widest, not the closest.
        kin = [
            np.concatenate([members[one] for one in np.unique(family[items]).tolist()])
            for family, members in zip(self.after.families, self._members, strict=True)
        ]
        return min((one for one in reversed(kin) if len(one)), key=len, default=self.common[0][:0])

    @cached_property
    def _members(self) -> list[list[Ints]]:
        """The common items of each family, by its code this month, as places before."""
        before, after = self.common
        found = []
        for family in self.after.families:
            order = np.argsort(family[after], kind="stable")
            borders = np.arange(1, family.max(initial=0) + 1)
            parts = np.searchsorted(family[after][order], borders)
            found.append(list(np.split(before[order], parts)))
        return found


def passage(before: ItemRows, after: ItemRows, labels: tuple[list[str], list[str]]) -> Passage:
    """Return the passage between items that have the same label.

    Args:
        before: The slices of the model that is carried over.
        after: Those of the model that it is carried into.
        labels: The labels of their items, each once.
    """
    place = {label: number for number, label in enumerate(labels[0])}
    pairs = [(place[label], to) for to, label in enumerate(labels[1]) if label in place]
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return Passage(before, after, (found[:, 0], found[:, 1]))


def _rows(value: Tensor, axis: Axis) -> npt.NDArray[np.float64]:
    """Return a parameter as float64, with the codes along its first dimension.

    Raises:
        ValueError: If it has another number of them.
    """
    size = sum(block.size for block in axis.blocks)
    if value.ndim <= axis.dimension or value.shape[axis.dimension] != size:
        raise ValueError(f"a parameter is {list(value.shape)}, and not of {size} codes")
    return value.detach().cpu().movedim(axis.dimension, 0).double().numpy()


def _most_common(code: Ints, source: Ints) -> tuple[Ints, Ints]:
    """Return for each code the source that it has most often, the first of equal ones."""
    pairs, counts = np.unique(np.stack([code, source], axis=1), axis=0, return_counts=True)
    order = np.lexsort((pairs[:, 1], -counts, pairs[:, 0]))
    chosen = pairs[order]
    first = np.unique(chosen[:, 0], return_index=True)[1]
    return chosen[first, 0], chosen[first, 1]
