"""Figures of a round's sum that show whether it is out of the ordinary.

They follow from the mean change alone, which every member of a round and the coordinator see anyway
(in mode `secure` each member verifies it; under a budget it is the release itself, so that what is
computed from it is post-processing). No message leaves a member for them, and they cost nothing.
They accuse no member: a sum does not say whose part is odd.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from securefl.config.schema import RunConfig

if TYPE_CHECKING:  # with them comes torch, and a party connects before it has that
    from torch import nn

    from securefl.tasks.base import AnyTask

_WINDOW: Final = 5
"""Earlier rounds that a round is compared with."""
LOUDER: Final = 3.0
"""Times the usual length at which a sum or a layer stands out."""
_ROW: Final = 12.0
"""Times the usual row at which a product stands out, in median absolute deviations."""
_FAR: Final = 10.0
"""Times the usual row below which no product stands out, however alike all others are."""
_FEWEST_ROWS: Final = 8
"""Rows that have to have moved, so that there is a usual one."""
_TO_DEVIATIONS: Final = 1.4826
"""Median absolute deviation to standard deviation, for a normal distribution."""

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SumFigures:
    """What a round's sum looks like.

    Attributes:
        norm: Length of the mean change.
        layers: The same by shared tensor.
        row: Place of the item whose row moved furthest from what is usual; -1 without items.
        row_score: By how many deviations of all items' rows; 0 without items.
        samples: Total weight of the sum.
        bound: Largest length that members who keep to the agreed limit can reach.
    """

    norm: float = 0.0
    layers: Mapping[str, float] = field(default_factory=dict)
    row: int = -1
    row_score: float = 0.0
    samples: int = 0
    bound: float = math.inf

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Return the figures from plain JSON values; null is a number that is not finite."""
        numbers = {
            name: math.nan if fields[name] is None else fields[name]
            for name in ("norm", "row_score")
        }
        layers = {n: math.nan if v is None else v for n, v in fields["layers"].items()}
        bound = math.inf if fields["bound"] is None else fields["bound"]
        return cls(**{**fields, **numbers, "layers": layers, "bound": bound})


class SumReader:
    """Reads sums of one model.

    Args:
        model: A model of the run; its shapes alone are used.
        limit: Largest change of a parameter that was agreed.
    """

    def __init__(self, model: nn.Module, limit: float) -> None:
        from securefl.ml.parameters import shared_parameters

        self._shapes = {n: tuple(p.shape) for n, p in shared_parameters(model).items()}
        self._items = _item_tensors(model)
        self._limit = limit

    @classmethod
    def of(cls, config: RunConfig, task: AnyTask, facts: Any) -> Self:  # noqa: ANN401 - the task's
        """Return the reader of a run's sums; the random numbers of torch stay as they were."""
        import torch

        with torch.random.fork_rng(devices=[]):
            return cls(task.model(facts, 0), config.secure.limit)

    def figures(self, change: Vector, samples: int) -> SumFigures:
        """Return the figures of a mean change, float64 [d], of so much weight."""
        parts, start = {}, 0
        for name, shape in self._shapes.items():
            end = start + int(np.prod(shape, dtype=np.int64))
            parts[name] = change[start:end].reshape(shape)
            start = end
        row, score = self._row(parts)
        return SumFigures(
            norm=float(np.linalg.norm(change)),
            layers={name: float(np.linalg.norm(part)) for name, part in parts.items()},
            row=row,
            row_score=score,
            samples=samples,
            bound=self._limit * math.sqrt(len(change)),
        )

    def _row(self, parts: Mapping[str, Vector]) -> tuple[int, float]:
        """Return the item that stands out most in a tensor with a row for each item."""
        found = (-1, 0.0)
        for name, axis in self._items.items():
            rows = np.moveaxis(parts[name], axis, 0).reshape(parts[name].shape[axis], -1)
            lengths = np.linalg.norm(rows, axis=1)
            place = int(lengths.argmax())
            found = max(found, (place, _beyond(lengths, place)), key=lambda one: one[1])
        return found


def _item_tensors(model: nn.Module) -> dict[str, int]:
    """Return the shared tensors with a slice for each item of their own, and its dimension."""
    from securefl.ml.item_rows import HasItemAxes
    from securefl.ml.parameters import shared_parameters

    if not isinstance(model, HasItemAxes):
        return {}
    shared = shared_parameters(model)
    return {
        name: axis.dimension
        for name, axis in model.item_axes().items()
        if name in shared
        and len(axis.blocks) == 1
        # One slice an item: in a slice of a department, a single product cannot stand out.
        and axis.blocks[0].size == len(axis.blocks[0].codes) > 2
        and len(np.unique(axis.blocks[0].codes)) == axis.blocks[0].size
    }


def _beyond(lengths: Vector, place: int) -> float:
    """Return by how many robust deviations a row is longer than usual; 0 where not by far.

    Rows of products that nobody bought do not move, and say nothing of those that did. What sells
    most moves further than others everywhere, so that many deviations alone are no reason.
    """
    moved = lengths[lengths > 0]
    if len(moved) < _FEWEST_ROWS or not math.isfinite(lengths[place]):
        return 0.0
    usual = float(np.median(moved))
    if lengths[place] < _FAR * usual:
        return 0.0
    deviation = _TO_DEVIATIONS * float(np.median(np.abs(moved - usual)))
    return (float(lengths[place]) - usual) / max(deviation, 1e-3 * usual)


class RecentSums:
    """The sums of the last rounds, as many as a new one is compared with.

    However long a run is, a round reads and keeps no more than these.
    """

    def __init__(self) -> None:
        self._seen: dict[int, SumFigures] = {}

    def note(self, number: int, figures: SumFigures) -> tuple[str, ...]:
        """Keep a round's sum, and return what is out of the ordinary in it; see `remarks`.

        A round whose sum others rejected is repeated: it is compared with those before it.

        Args:
            number: The round.
            figures: Its sum.
        """
        earlier = [one for known, one in sorted(self._seen.items()) if known < number]
        self._seen[number] = figures
        for old in sorted(self._seen)[: -_WINDOW - 1]:  # one more: the newest can be repeated
            del self._seen[old]
        return remarks(figures, earlier)


def remarks(figures: SumFigures, earlier: Sequence[SumFigures]) -> tuple[str, ...]:
    """Return what is out of the ordinary in a sum, one line each; none for a usual one.

    Args:
        figures: The sum.
        earlier: Those of the rounds before it, in order.
    """
    found = []
    if not math.isfinite(figures.norm):
        return ("the sum is not finite",)
    if figures.norm > figures.bound:
        found.append(f"its length {figures.norm:.3g} is beyond the agreed {figures.bound:.3g}")
    window = [one for one in earlier[-_WINDOW:] if math.isfinite(one.norm)]
    if window:
        found += _longer(figures, window)
        most = max(one.samples for one in window)
        if figures.samples > LOUDER * most:
            found.append(f"its weight {figures.samples:,} is more than {LOUDER:g} times {most:,}")
    if figures.row_score > _ROW:
        score = f"{figures.row_score:.0f} deviations"
        found.append(f"the row of item {figures.row} moved {score} further than others")
    return tuple(found)


def _longer(figures: SumFigures, window: Sequence[SumFigures]) -> list[str]:
    """Return remarks on lengths that are far above those of earlier rounds."""
    lengths = {"its length": [one.norm for one in window]} | {
        f"layer {name}": [one.layers.get(name, math.nan) for one in window]
        for name in figures.layers
    }
    now = {"its length": figures.norm}
    now |= {f"layer {name}": length for name, length in figures.layers.items()}
    return [
        f"{name} {now[name]:.3g} is {now[name] / usual:.1f} times the usual {usual:.3g}"
        for name, values in lengths.items()
        if (usual := float(np.median(values))) > 0 and now[name] > LOUDER * usual
    ]
