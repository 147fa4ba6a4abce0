"""RFM features of a customer at a date: recency, frequency, monetary value and regularity.

Every feature is scaled with public constants, so that no customer changes another one's features,
and lies between 0 and 1 (trends between -1 and 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from securefl.data.schema import ANONYMOUS
from securefl.tasks.churn.settings import WINDOWS
from securefl.tasks.common.amounts import bounded_amounts

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

WEEK: Final = 7 * 86_400 * 10**9
"""In nanoseconds."""


_WEEKS: Final = 52.0
_BASKETS: Final = 60.0
_VALUE: Final = 3000.0
_BASKET_VALUE: Final = 200.0
_PRODUCTS: Final = 1000.0
_CATEGORIES: Final = 200.0
_SPREAD: Final = 5.0
_TREND: Final = 3.0
_VALUE_TREND: Final = 6.0
_DAY: Final = 1 / 7


@dataclass(frozen=True)
class Lines:
    """One retailer's purchase lines of known customers, as parallel arrays [L] in order of time.

    Attributes:
        customer: Customer ids, int64.
        basket: Basket ids, int64.
        time: Nanoseconds since 1970, int64.
        product: Product ids, int64.
        category: Codes of the products' categories, int64.
        value: Amount paid, float64.
        discount: Discount, float64.
    """

    customer: Ints
    basket: Ints
    time: Ints
    product: Ints
    category: Ints
    value: Floats
    discount: Floats

    @classmethod
    def of(cls, transactions: pd.DataFrame, products: Ints, category: Ints) -> Lines:
        """Return a retailer's lines of known customers.

        Args:
            transactions: As in `RetailerTables`.
            products: The catalogue's products, int64 [I], ascending.
            category: The code of each one's category, int64 [I].
        """
        known = transactions[transactions["customer"] != ANONYMOUS]
        lines = known.sort_values("time", kind="stable")
        product = lines["product"].to_numpy(np.int64)
        return cls(
            customer=lines["customer"].to_numpy(np.int64),
            basket=lines["basket"].to_numpy(np.int64),
            time=lines["time"].to_numpy("datetime64[ns]").astype(np.int64),
            product=product,
            category=category[np.searchsorted(products, product).clip(max=len(products) - 1)],
            value=bounded_amounts(lines["value"].to_numpy(np.float64)),
            discount=bounded_amounts(lines["discount"].to_numpy(np.float64)),
        )

    def between(self, first: int, last: int) -> Lines:
        """Return the lines from `first` on and before `last`, in ns since 1970."""
        span = slice(*np.searchsorted(self.time, [first, last]))
        return Lines(**{name: part[span] for name, part in vars(self).items()})


@dataclass(frozen=True)
class Visits:
    """Baskets as parallel arrays [V], by customer and in order of time.

    Attributes:
        customers: Ids of the n customers, ascending, int64 [n].
        row: Row of each basket's customer, int64.
        age: Weeks from the basket to the date, float64.
        value: Amount paid, float64.
        line: Row of the customer of each purchase line, int64 [L].
    """

    customers: Ints
    row: Ints
    age: Floats
    value: Floats
    line: Ints

    @classmethod
    def of(cls, lines: Lines, moment: int) -> Visits:
        """Group lines into baskets, seen from `moment` (ns since 1970)."""
        customers, line = np.unique(lines.customer, return_inverse=True)
        order = np.lexsort((lines.basket, line))
        new = np.ones(len(order), dtype=bool)
        new[1:] = (np.diff(lines.basket[order]) != 0) | (np.diff(line[order]) != 0)
        starts = np.flatnonzero(new)
        last = np.maximum.reduceat(lines.time[order], starts) if len(starts) else lines.time
        value = np.add.reduceat(lines.value[order], starts) if len(starts) else lines.value
        row = line[order][starts]
        by_time = np.lexsort((last, row))
        return cls(
            customers=customers,
            row=row[by_time],
            age=(moment - last[by_time]) / WEEK,
            value=value[by_time],
            line=line,
        )

    def counts(self, within: float = np.inf) -> Floats:
        """Return each customer's number of baskets in the last `within` weeks, float64 [n]."""
        return self._summed(np.ones(len(self.row)), within)

    def spent(self, within: float = np.inf) -> Floats:
        """Return the amount that each customer paid in the last `within` weeks, float64 [n]."""
        return self._summed(self.value, within)

    def recency(self) -> Floats:
        """Return weeks since each customer's last basket, float64 [n]."""
        found = np.full(len(self.customers), np.inf)
        np.minimum.at(found, self.row, self.age)
        return found

    def of_lines(self, weights: Floats | npt.NDArray[np.bool_]) -> Floats:
        """Return the sum of the weights of each customer's lines, float64 [n]."""
        summed = np.bincount(self.line, weights, minlength=len(self.customers))
        return summed.astype(np.float64)

    def distinct(self, codes: Ints) -> Floats:
        """Return each customer's number of distinct `codes` (int64 [L]), float64 [n]."""
        rows = np.unique(np.stack([self.line, codes]), axis=1)[0]
        return np.bincount(rows, minlength=len(self.customers)).astype(np.float64)

    def _summed(self, weights: Floats, within: float) -> Floats:
        young = weights * (self.age <= within)
        summed = np.bincount(self.row, young, minlength=len(self.customers))
        return summed.astype(np.float64)


def purchase_features(lines: Lines, visits: Visits) -> Floats:
    """Return the `FEATURES` of each customer, float64 [n, F]."""
    recency, baskets = visits.recency(), visits.counts()
    discount, value = visits.of_lines(lines.discount), visits.of_lines(lines.value)
    return np.stack(
        [
            scaled(recency, _WEEKS),
            *(scaled(visits.counts(weeks), _BASKETS) for weeks in WINDOWS),
            *(scaled(visits.spent(weeks), _VALUE) for weeks in WINDOWS),
            scaled(value / baskets, _BASKET_VALUE),
            scaled(visits.distinct(lines.product), _PRODUCTS),
            scaled(visits.distinct(lines.category), _CATEGORIES),
            discount / np.maximum(value + discount, 1e-9),
            visits.of_lines(lines.discount > 0) / visits.of_lines(np.ones(len(lines.time))),
            *_rhythm(visits, recency),
            _trend(visits.counts(8), visits.counts(16), _TREND),
            _trend(visits.spent(8), visits.spent(16), _VALUE_TREND),
        ],
        axis=1,
    )


def scaled(values: Floats, most: float) -> Floats:
    """Return log(1 + value) / log(1 + most), the value clipped at `most`, float64 [n]."""
    logs: Floats = np.log1p(np.minimum(values, most)) / np.log1p(most)
    return logs


def _rhythm(visits: Visits, recency: Floats) -> tuple[Floats, ...]:
    """Return mean and spread of the gaps between baskets, and recency relative to them."""
    same = np.diff(visits.row) == 0
    gap, row = -np.diff(visits.age)[same], visits.row[1:][same]
    count = len(visits.customers)
    gaps = np.maximum(np.bincount(row, minlength=count), 1)
    mean = np.bincount(row, gap, minlength=count) / gaps
    variance = np.bincount(row, gap**2, minlength=count) / gaps - mean**2
    longest = np.zeros(count)
    np.maximum.at(longest, row, gap)
    usual = np.maximum(mean, _DAY)
    return (
        scaled(mean, _WEEKS),
        np.minimum(np.sqrt(np.maximum(variance, 0.0)) / usual, _SPREAD) / _SPREAD,
        scaled(recency / usual, _WEEKS),
        scaled(recency / np.maximum(longest, _DAY), _WEEKS),
        np.bincount(row, gap >= recency[row], minlength=count) / gaps,
    )


def _trend(lately: Floats, both: Floats, most: float) -> Floats:
    """Return the log ratio of the last weeks to those before, scaled to -1..1, float64 [n]."""
    change = np.log1p(lately) - np.log1p(both - lately)
    clipped: Floats = np.clip(change, -most, most) / most
    return clipped
