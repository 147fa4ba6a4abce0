"""Metrics as sums that add up over retailers, so that nobody has to average averages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


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
        """The metric; NaN where there was no case."""
        if self.denominator == 0:
            return math.nan
        quotient = self.numerator / self.denominator
        return math.sqrt(quotient) if self.root else quotient

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
    """Return the tally over all cases of several retailers.

    Raises:
        ValueError: If there is no tally, or their metrics differ.
    """
    iterator = iter(tallies)
    result = next(iterator, None)
    if result is None:
        raise ValueError("no tally to add up")
    for tally in iterator:
        result = result + tally
    return result
