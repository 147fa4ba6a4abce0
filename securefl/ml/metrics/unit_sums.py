"""Metric sums unit by unit: what each privacy unit adds, before it is bounded and summed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class UnitSums:
    """The parts of U privacy units in metrics' numerators and denominators.

    Attributes:
        numerators: Metric to each unit's part, float64 [U].
        counts: Denominator to each unit's part, float64 [U].

    Raises:
        ValueError: If the columns differ in length.
    """

    numerators: Mapping[str, Doubles]
    counts: Mapping[str, Doubles]

    def __post_init__(self) -> None:
        shapes = {column.shape for column in (*self.numerators.values(), *self.counts.values())}
        if len(shapes) != 1 or len(next(iter(shapes))) != 1:
            raise ValueError(f"columns of units of different lengths: {sorted(shapes)}")

    @property
    def units(self) -> int:
        """Number U of units; it depends on data, and is never released."""
        return len(next(iter(self.counts.values())))


def by_unit(owners: npt.NDArray[np.int64], parts: Doubles) -> Doubles:
    """Return the sums of cases' parts by owner, float64 [U], owners ascending.

    Args:
        owners: The unit of each case, int64 [N].
        parts: What each case adds, float64 [N].
    """
    _, place = np.unique(owners, return_inverse=True)
    return np.bincount(place, parts).astype(np.float64)
