"""Bounded integers from metric sums by unit: one unit moves them by a stated norm, and no more.

Each unit's row of numerators and counts is clipped to public bounds and rounded to integers before
it is added. So adding or removing a unit changes the sum by exactly that unit's row of integers,
whose norm is at most `sensitivity`, rounding included. Nothing is rounded or clipped after other
units were added, except at a bound on the whole sum, which brings two sums no further apart.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from securefl.config.score_bounds import ScoreTable
from securefl.ml.metrics.sums import MetricSums, Ratio
from securefl.ml.metrics.unit_sums import Doubles, UnitSums
from securefl.privacy.accounting.sensitivity import Sensitivity

Integers = npt.NDArray[np.int64]

STEPS: Final = 1 << 12
"""Integer steps of a unit's largest part: rounding moves a part by 1 in 8192 of it at most."""


def sensitivity(table: ScoreTable) -> Sensitivity:
    """Return the sensitivity of the summed integers to one unit: each coordinate at its bound.

    sqrt(d) times `STEPS`. The rows are integers, so that rounding adds nothing to it.
    """
    return Sensitivity(STEPS * math.sqrt(table.dimension), table.dimension)


def bounded_integers(table: ScoreTable, parts: UnitSums, most_units: int) -> Integers:
    """Return a member's sum of bounded integers, int64 [d]: numerators, then counts.

    A unit whose count exceeds its bound is scaled down as a whole, so that its ratio stays; each
    numerator is then clipped. What is not a number counts as the bound.

    Args:
        table: The public bounds.
        parts: The parts of the member's units.
        most_units: Agreed bound on units of a member, beyond which the sum is clipped.

    Raises:
        KeyError: If a metric of the table was not computed.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # parts may be any numbers at all
        rows = np.stack([*_numerators(table, parts), *_counts(table, parts)], axis=1)
    limit = most_units * STEPS
    total: Integers = np.clip(rows.sum(axis=0, dtype=np.int64), -limit, limit)
    return total


def _numerators(table: ScoreTable, parts: UnitSums) -> list[Integers]:
    return [
        _in_steps(parts.numerators[metric] * _scale(parts, bound.counted_as, bound.count), top)
        for metric, bound in table.metrics.items()
        for top in (bound.numerator,)
    ]


def _counts(table: ScoreTable, parts: UnitSums) -> list[Integers]:
    return [
        _in_steps(parts.counts[name] * _scale(parts, name, bound), bound)
        for name, bound in table.counts.items()
    ]


def _scale(parts: UnitSums, name: str, bound: float) -> Doubles:
    """Return the factor, at most 1, that brings each unit's count to the bound, float64 [U]."""
    counts = np.nan_to_num(parts.counts[name], nan=bound, posinf=math.inf)
    return np.minimum(1.0, bound / np.maximum(counts, bound))


def _in_steps(values: Doubles, bound: float) -> Integers:
    """Return values in steps of the bound, rounded to the nearest, int64 [U]."""
    steps = np.nan_to_num(values / bound, nan=1.0, posinf=1.0, neginf=-1.0)
    # Clipped after rounding, so that the bound holds for the integers and not only before it.
    return np.clip(np.rint(np.clip(steps, -1.0, 1.0) * STEPS), -STEPS, STEPS).astype(np.int64)


def metric_sums(table: ScoreTable, total: Integers) -> MetricSums:
    """Return the metric sums that summed integers, int64 [d], stand for; noise stays in them."""
    values = (total * (np.asarray(table.largest) / STEPS)).tolist()
    counts = dict(zip(table.counts, values[len(table.metrics) :], strict=True))
    return MetricSums(
        {
            metric: Ratio(numerator, counts[bound.counted_as])
            for (metric, bound), numerator in zip(table.metrics.items(), values, strict=False)
        }
    )
