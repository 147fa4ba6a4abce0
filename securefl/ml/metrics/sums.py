"""Metrics as sums that add up over retailers, so that nobody has to average averages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Ratio:
    """A metric as numerator and denominator: `numerator / denominator`, or its square root.

    Attributes:
        numerator: Sum over cases, for example of hits or of squared errors.
        denominator: Number of cases, or the sum that WAPE divides by.
        root: Take the square root of the quotient (RMSE).
    """

    numerator: float
    denominator: float
    root: bool = False

    @property
    def value(self) -> float:
        """The metric; NaN where there was no case, or where no cases have such sums."""
        if self.denominator == 0:
            return math.nan
        quotient = self.numerator / self.denominator
        if not self.root:
            return quotient
        # Under masks one member can make a sum of squares less than nothing.
        return math.sqrt(quotient) if quotient >= 0 else math.nan

    def __add__(self, other: Ratio) -> Ratio:
        if self.root != other.root:
            raise ValueError("a root metric cannot be added to a plain one")
        return Ratio(
            self.numerator + other.numerator, self.denominator + other.denominator, self.root
        )


@dataclass(frozen=True)
class MetricSums:
    """Metric name to `Ratio`, for one retailer or for many."""

    ratios: Mapping[str, Ratio]

    def values(self) -> dict[str, float]:
        """Return metric name to number."""
        return {name: ratio.value for name, ratio in self.ratios.items()}

    def __add__(self, other: MetricSums) -> MetricSums:
        if self.ratios.keys() != other.ratios.keys():
            raise ValueError("tallies of different metrics cannot be added")
        return MetricSums({name: ratio + other.ratios[name] for name, ratio in self.ratios.items()})


def total(tallies: Iterable[MetricSums]) -> MetricSums:
    """Return the tally over all cases of several retailers, each sum rounded once.

    Independent of their order, and bit for bit what the exact masked sum of the same tallies gives.

    Raises:
        ValueError: If there is no tally, or their metrics differ.
    """
    parts = list(tallies)
    if not parts:
        raise ValueError("no tally to add up")
    joined = parts[0]
    for tally in parts[1:]:
        joined = joined + tally  # refuses other metrics
    return MetricSums(
        {
            name: Ratio(
                _rounded_once(tally.ratios[name].numerator for tally in parts),
                _rounded_once(tally.ratios[name].denominator for tally in parts),
                ratio.root,
            )
            for name, ratio in joined.ratios.items()
        }
    )


def _rounded_once(parts: Iterable[float]) -> float:
    """Return the correctly rounded sum; NaN where a part is infinite or NaN."""
    values = list(parts)
    return math.fsum(values) if all(map(math.isfinite, values)) else math.nan


GROUPS: Final = 10
"""Groups of cases; more would cost time, and fewer would leave the error itself uncertain."""


def standard_errors(groups: Sequence[MetricSums]) -> dict[str, float | None]:
    """Return the standard error of each metric over all groups; None where it is not known.

    The delete-a-group jackknife (Kott 2001): with the metric `m_g` of all cases but group g's,
    `se^2 = (G - 1) / G sum_g (m_g - mean)^2`. Groups are disjoint and independent of each other.
    """
    if len(groups) < 2:
        return {}
    left_out = [
        total([*groups[:place], *groups[place + 1 :]]).values() for place in range(len(groups))
    ]
    return {name: _error([values[name] for values in left_out]) for name in left_out[0]}


def _error(values: Sequence[float]) -> float | None:
    if not all(map(math.isfinite, values)):
        return None
    count, mean = len(values), math.fsum(values) / len(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return math.sqrt((count - 1) / count * squares)
