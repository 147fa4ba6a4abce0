"""Exact integers from metric sums, for a masked sum without noise: what is added is not rounded.

A float64 is an integer times a power of two. On a grid of 2^-64 it is a long integer, which travels
as `LIMBS` ring elements of `BITS` bits each. Members' limbs add up without a wrap-around, whatever
they are: `MOST_MEMBERS` times the largest limb is below 2^63. So the decoded sum is the members'
sum rounded once, to the float64 that is nearest, which is also what `metrics.sums.total` returns
for sums in the clear. Only parts below 2^-64 are rounded before they are added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from securefl.federation.scores.bounded import Integers
from securefl.ml.metrics.spec import MetricSpec
from securefl.ml.metrics.sums import MetricSums, Ratio

GRID: Final = 64
"""Bits behind the point."""
BITS: Final = 48
LIMBS: Final = 3
_WIDTH: Final = LIMBS + 1
"""Ring elements of a number: the limbs, and one that counts numbers that do not fit."""
_LARGEST: Final = 1 << (LIMBS * BITS - 1 - GRID)
MOST_MEMBERS: Final = 1 << 14


@dataclass(frozen=True)
class ExactLayout:
    """The coordinates of all metric sums of an arm, from public information alone.

    Attributes:
        metrics: The task's metrics, in order.
    """

    metrics: tuple[MetricSpec, ...]

    @property
    def denominators(self) -> tuple[str, ...]:
        """The distinct denominators; metrics that name the same one send it once."""
        return tuple(dict.fromkeys(metric.denominator for metric in self.metrics))

    @property
    def dimension(self) -> int:
        """Ring elements of an arm."""
        return _WIDTH * (len(self.metrics) + len(self.denominators))

    def integers(self, sums: MetricSums) -> Integers:
        """Return metric sums as limbs, int64 [d].

        Raises:
            ValueError: If the metrics are others, or two that share a denominator differ in it.
        """
        if sums.ratios.keys() != {metric.name for metric in self.metrics}:
            raise ValueError(f"other metrics than the task declares: {sorted(sums.ratios)}")
        counts: dict[str, float] = {}
        for metric in self.metrics:
            count = sums.ratios[metric.name].denominator
            if counts.setdefault(metric.denominator, count) != count:
                raise ValueError(f"'{metric.name}' has a denominator of its own")
        numerators = [sums.ratios[metric.name].numerator for metric in self.metrics]
        return np.concatenate([_limbs(value) for value in (*numerators, *counts.values())])

    def metric_sums(self, total: Integers) -> MetricSums:
        """Return the metric sums in summed limbs, int64 [d]; NaN where a part did not fit."""
        values = [_number(part) for part in total.reshape(-1, _WIDTH).tolist()]
        counts = dict(zip(self.denominators, values[len(self.metrics) :], strict=True))
        return MetricSums(
            {
                metric.name: Ratio(numerator, counts[metric.denominator], metric.root)
                for metric, numerator in zip(self.metrics, values, strict=False)
            }
        )


def _limbs(value: float) -> Integers:
    """Return a float64 as limbs, int64 [LIMBS + 1], the lowest first; the highest has the sign."""
    if not abs(value) < _LARGEST:  # NaN does not either
        return np.array([0] * LIMBS + [1], dtype=np.int64)
    rest, limbs = round(Fraction(value) * (1 << GRID)), []
    for _ in range(LIMBS - 1):
        limbs.append(rest & ((1 << BITS) - 1))
        rest >>= BITS
    return np.array([*limbs, rest, 0], dtype=np.int64)


def _number(limbs: Sequence[int]) -> float:
    """Return the float64 nearest to a sum of limbs."""
    *parts, unfit = limbs
    if unfit:
        return float("nan")
    # A quotient of integers is rounded once, to the nearest, however long they are.
    return sum(part << (BITS * place) for place, part in enumerate(parts)) / (1 << GRID)
