"""Rows of products that a model no longer has, for the month in which they come back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from securefl.ml.item_rows import Axis, ItemRows

Labels = tuple[list[str], list[str]]
"""Labels of last month's products, and of this month's."""


@dataclass(frozen=True)
class Retired:
    """Rows of products that are not in the model.

    Attributes:
        labels: Their labels.
        rows: Parameter to a row for each of them, float32 [R, ...].

    Raises:
        ValueError: If there is not one row for each label.
    """

    labels: tuple[str, ...] = ()
    rows: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("removed products are named twice")
        if any(len(rows) != len(self.labels) for rows in self.rows.values()):
            raise ValueError("the rows of removed products are not one each")

    def returned(
        self, carried: Mapping[str, Tensor], after: ItemRows, labels: Labels
    ) -> dict[str, Tensor]:
        """Return parameters in which products that have come back have their own rows again.

        Args:
            carried: The parameters.
            after: Which slices of them are whose.
            labels: See `Labels`.

        Raises:
            ValueError: If the rows are of another model.
        """
        place, found = {one: at for at, one in enumerate(self.labels)}, dict(carried)
        new = set(labels[1]) - set(labels[0])
        back = [(to, place[one]) for to, one in enumerate(labels[1]) if one in new and one in place]
        to, at = np.array(back, dtype=np.int64).reshape(-1, 2).T
        for name, rows in self.rows.items():
            start = _own_slices(after.axes.get(name), len(after.items))
            if start is None:
                continue
            dimension = after.axes[name].dimension
            moved = found[name].movedim(dimension, 0).clone()
            if rows.shape[1:] != moved.shape[1:] or rows.dtype != moved.dtype:
                raise ValueError(f"the rows of removed products of {name} are of another model")
            moved[torch.from_numpy(start + to)] = rows[torch.from_numpy(at)]
            found[name] = moved.movedim(0, dimension).contiguous()
        return found


def retired_of(
    before: ItemRows, labels: Labels, tensors: Mapping[str, Tensor], earlier: Retired
) -> Retired:
    """Return the rows of last month's products that this month has not, and of earlier ones.

    Args:
        before: Which slices of last month's parameters are whose.
        labels: See `Labels`.
        tensors: Last month's shared parameters.
        earlier: What last month's model took along.
    """
    now, known = set(labels[1]), set(labels[0]) | set(labels[1])
    gone = [at for at, one in enumerate(labels[0]) if one and one not in now]
    still = [at for at, one in enumerate(earlier.labels) if one not in known]
    rows = {}
    for name, value in tensors.items():
        start = _own_slices(before.axes.get(name), len(before.items))
        if start is None:
            continue
        part = value.movedim(before.axes[name].dimension, 0)[[start + at for at in gone]]
        rows[name] = torch.cat([earlier.rows[name][still], part]) if still else part.contiguous()
    return Retired((*(earlier.labels[at] for at in still), *(labels[0][at] for at in gone)), rows)


def _own_slices(axis: Axis | None, items: int) -> int | None:
    """Return where the slices of single items begin; None where an axis has none."""
    start = 0
    for block in () if axis is None else axis.blocks:
        if block.size == items and np.array_equal(block.codes, np.arange(items)):
            return start
        start += block.size
    return None
