"""Demand by series and time step, from purchase lines.

A series is one key of the agreed catalogue (a department, a category or a product) at one retailer;
key 0 is everything that the catalogue does not list. Weeks start on Monday.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import DataError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Days = npt.NDArray[np.datetime64]
Level = Literal["department", "category", "product"]

UNKNOWN: Final = 0
_MOST_UNITS: Final = 1e6
"""Units of a line that count; a public constant beyond what any shop sells at once."""


@dataclass(frozen=True)
class Cadence:
    """A time step and the forecaster's lags and windows on it.

    Attributes:
        name: `week` or `day`.
        days: Length of a step in days.
        lags: Steps back whose demand is an input.
        windows: Numbers of past steps whose mean demand is an input.
        level: Windows whose averaged means are the level that the model corrects.
        baseline: Windows of the baseline's moving averages; 1 is the last value.
        season: Length of the season in steps; 1 if there is none.
    """

    name: Literal["week", "day"]
    days: int
    lags: tuple[int, ...]
    windows: tuple[int, ...]
    level: tuple[int, ...]
    baseline: tuple[int, ...]
    season: int

    @property
    def warmup(self) -> int:
        """Number of steps before the first training step."""
        return max(*self.level, *self.lags)


WEEK: Final = Cadence(
    "week",
    days=7,
    lags=(1, 2, 3, 4),
    windows=(4, 8, 13),
    level=(4, 8),
    baseline=(1, 4, 8),
    season=1,
)
DAY: Final = Cadence(
    "day",
    days=1,
    lags=(1, 2, 7, 14, 21, 28),
    windows=(7, 28),
    level=(28,),
    baseline=(1, 7, 28),
    season=7,
)
CADENCES: Final = {cadence.name: cadence for cadence in (WEEK, DAY)}


@dataclass(frozen=True)
class Vocabulary:
    """The agreed keys, and the key of each product of the catalogue.

    Attributes:
        keys: Names by index; index 0 is the unknown.
        products: Product ids, int64 [P], ascending.
        index: Key index of each of them, int64 [P].
    """

    format_name: ClassVar[str] = "Vocabulary"
    keys: tuple[str, ...]
    products: Ints
    index: Ints

    def of(self, products: Ints) -> Ints:
        """Return the key index of each product id, `UNKNOWN` where the catalogue lacks it."""
        if self.products.size == 0:
            return np.full(products.shape, UNKNOWN, dtype=np.int64)
        place = np.searchsorted(self.products, products).clip(max=self.products.size - 1)
        return np.where(self.products[place] == products, self.index[place], UNKNOWN)


def vocabulary(products: pd.DataFrame, level: Level) -> Vocabulary:
    """Return the keys of one level of the agreed catalogue, in the order of their names.

    Args:
        products: The catalogue, as in `RetailData.products`.
        level: Level of the series.
    """
    ordered = products.sort_values("product", kind="stable")
    names = ordered[level].astype(str).to_numpy(dtype=object)
    known = sorted(set(names.tolist()) - {""})
    place = {"": UNKNOWN} | {name: number for number, name in enumerate(known, start=1)}
    return Vocabulary(
        keys=("", *known),
        products=ordered["product"].to_numpy(dtype=np.int64),
        index=np.array([place[name] for name in names], dtype=np.int64),
    )


def complete_steps(data: RetailData, cadence: Cadence) -> Days:
    """Return first days of the completely covered steps, datetime64[D] [T], ascending.

    A truncated week at either end of the data would look like a week of low demand.

    Raises:
        DataError: If there is no such step.
    """
    times = [m.transactions["time"] for m in data.members if len(m.transactions)]
    if not times:
        raise DataError(f"{data.source}: no member has transactions")
    first = np.datetime64(min(column.min() for column in times), "D")
    last = np.datetime64(max(column.max() for column in times), "D")
    if cadence.name == "week":
        first = first + np.timedelta64(-_weekday(first) % 7, "D")
    count = int((last - first + np.timedelta64(1, "D")) / np.timedelta64(cadence.days, "D"))
    if count < 1:
        raise DataError(f"{data.source}: the transactions do not cover one {cadence.name} in full")
    return first + np.arange(count) * np.timedelta64(cadence.days, "D")


def steps_until(
    agreed: np.datetime64, first: np.datetime64, end: np.datetime64, cadence: Cadence
) -> Days:
    """Return the complete steps of some days, in the phase of the agreed calendar.

    Args:
        agreed: First day of the agreed calendar, before which no step begins.
        first: First day of the data.
        end: The moment after their last one.
        cadence: Length and season of the steps.
    """
    length = np.timedelta64(cadence.days, "D")
    late = max(-int((agreed - first) // length), 0)
    start = agreed + (late + -late % cadence.season) * length
    count = max(int((end.astype("datetime64[D]") - start) // length), 0)
    steps: Days = start + np.arange(count) * length
    return steps


def with_coming(steps: Days, cadence: Cadence) -> Days:
    """Return the steps and the one after them, datetime64[D] [T + 1]."""
    return np.append(steps, steps[-1] + np.timedelta64(cadence.days, "D"))


def _weekday(day: np.datetime64) -> int:
    """Return the weekday, 0 on Mondays; 1970-01-01 was a Thursday."""
    return int(day.astype("datetime64[D]").astype(np.int64) + 3) % 7


@dataclass(frozen=True)
class Sales:
    """Units sold by one retailer, by product and step.

    Attributes:
        products: Ids of the products sold in these steps, int64 [P], ascending.
        units: Units sold, float64 [P, T].
    """

    products: Ints
    units: Floats

    def with_coming(self) -> Sales:
        """Return the same with one more step, without sales."""
        return Sales(self.products, np.pad(self.units, ((0, 0), (0, 1))))

    def by_key(self, words: Vocabulary) -> Floats:
        """Return units by key of the vocabulary and step, float64 [K, T]."""
        return sum_by(words.of(self.products), self.units, len(words.keys))


@dataclass(frozen=True)
class Known:
    """A member's sales up to a moment.

    Attributes:
        name: The member's name.
        sold: Units sold, by product and step.
        steps: First days of the steps, datetime64[D] [T].
    """

    name: str
    sold: Sales
    steps: Days

    def until(self, count: int) -> Known:
        """Return the first `count` steps."""
        sold = Sales(self.sold.products, self.sold.units[:, :count])
        return Known(self.name, sold, self.steps[:count])


def bounded_units(quantity: Floats) -> Floats:
    """Return the units of each line that count, float64 [L] in 0.._MOST_UNITS; 0 if not finite.

    Each line is bounded by itself and before anything is added up, so that a sum of squares stays
    finite whatever a customer bought, and no line makes a sum infinite or NaN.
    """
    known = np.where(np.isfinite(quantity), quantity, 0.0)
    return np.clip(known, 0.0, _MOST_UNITS)


def sales(tables: RetailerTables, steps: Days, cadence: Cadence) -> Sales:
    """Sum one retailer's purchase lines; lines outside the steps are left out."""
    lines = tables.transactions
    days = lines["time"].to_numpy().astype("datetime64[D]")
    step = (days - steps[0]).astype(np.int64) // cadence.days
    inside = (step >= 0) & (step < len(steps))
    products, row = np.unique(lines["product"].to_numpy(np.int64)[inside], return_inverse=True)
    cell = row * len(steps) + step[inside]
    amounts = bounded_units(lines["quantity"].to_numpy(np.float64)[inside])
    units = np.zeros(len(products) * len(steps))
    np.add.at(units, cell, amounts)
    return Sales(products, units.reshape(len(products), len(steps)))


def sum_by(group: Ints, values: Floats, groups: int) -> Floats:
    """Return sums of rows [P, ...] by group (int64 [P]), float64 [groups, ...]."""
    result = np.zeros((groups, *values.shape[1:]))
    np.add.at(result, group, values)
    return result
