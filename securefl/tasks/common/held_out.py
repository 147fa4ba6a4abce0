"""What a served model says of a member's held-out cases beside what happened, to be drawn.

All of it is the member's own data, and is shown to the member alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ListedCustomer:
    """A customer's list before their held-out purchase.

    Attributes:
        before: Products that were bought last before it, int64, the latest first.
        known: Number of different products bought before it.
        listed: The list, int64 [k], the first product first.
        bought: The held-out product.
        rank: Its rank among all products that could have been listed, from 1.
        among: Number of these: what the member sells and the customer never bought otherwise.
    """

    before: Ints
    known: int
    listed: Ints
    bought: int
    rank: int
    among: int


@dataclass(frozen=True)
class HeldOutLists:
    """Some customers' lists.

    Attributes:
        customers: The customers, evenly spaced among those with a held-out purchase.
        cases: Number of these.
    """

    customers: tuple[ListedCustomer, ...]
    cases: int


@dataclass(frozen=True)
class SeriesPath:
    """A series over known steps, the last of which are held out.

    Attributes:
        name: The series' own name.
        steps: First days of the steps, datetime64[D] [T].
        sold: Units sold, float64 [T].
        forecast: Forecasts of the last t steps, each from all sales before it, float64 [t].
        lower: Lower ends of the bands, float64 [t].
        upper: Upper ends, float64 [t].
        ordered: What was to be ordered up to, float64 [t]; None where nothing is ordered.
    """

    name: str
    steps: npt.NDArray[np.datetime64]
    sold: Floats
    forecast: Floats
    lower: Floats
    upper: Floats
    ordered: Floats | None = None

    @property
    def held_out(self) -> Floats:
        """Units sold in the held-out steps, float64 [t]."""
        return self.sold[len(self.sold) - len(self.forecast) :]

    @property
    def inside(self) -> int:
        """Number of held-out steps whose sales lie within the band."""
        return int(((self.lower <= self.held_out) & (self.held_out <= self.upper)).sum())


@dataclass(frozen=True)
class HeldOutForecasts:
    """All series' forecasts.

    Attributes:
        series: The series, those that sell most first.
        step: Name of a step, such as `week`.
        interval: Probability that a band should hold.
        covers: Steps whose mean demand a figure is.
    """

    series: tuple[SeriesPath, ...]
    step: str
    interval: float
    covers: int = 1


@dataclass(frozen=True)
class HeldOutProbabilities:
    """Probabilities of all held-out cases.

    Attributes:
        probability: Of not coming back, float64 [n].
        gone: Whether they did not, bool [n].
        weeks: Length of the time that is spoken of.
    """

    probability: Floats
    gone: npt.NDArray[np.bool_]
    weeks: int


@dataclass(frozen=True)
class PriceCurve:
    """Revenue and margin of a category's usual product at other prices, in percent of today's.

    Attributes:
        name: The category's name.
        elasticity: Its elasticity.
        error: The elasticity's standard error.
        takings: What the category's products with a price take in a week.
        change: Changes of the price in percent, float64 [m].
        revenue: Revenue, its lower and its upper bound, float64 [3, m].
        margin: Margin with bounds, float64 [3, m].
    """

    name: str
    elasticity: float
    error: float
    takings: float
    change: Floats
    revenue: Floats
    margin: Floats


@dataclass(frozen=True)
class PriceCurves:
    """Curves of all categories with prices.

    Attributes:
        curves: The curves, those of the largest takings first.
        confidence: Probability that an elasticity lies within its bounds.
        largest: Largest change of a price that may be recommended, in percent.
    """

    curves: tuple[PriceCurve, ...]
    confidence: float
    largest: float


HeldOut = HeldOutLists | HeldOutForecasts | HeldOutProbabilities | PriceCurves
