"""Expected effect of a step's planned displays and mailers on a series.

Promotions of a step are planned, and known before it begins; so is their past effect on each
product. Together they give the change of a series that is due to promotions alone.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from securefl.tasks.demand.series import Days, Floats, Ints, Sales, sum_by

States = npt.NDArray[np.int8]

STATES: Final = 4
"""Nothing, display, mailer, both."""

COMPARED: Final = (4, 1)
"""Numbers of past steps whose promotions the planned ones are compared with."""

PRIOR_STEPS: Final = 2.0
"""Weight of the retailer's average uplift against one product's observed one, in steps."""

_HALF: Final = 0.5
"""Units added to both sides of a ratio, so that series without past sales have a ratio of 1."""


def promotion_states(promotions: pd.DataFrame, products: Ints, steps: Days) -> States:
    """Return the promotion state of every product: display + 2 * mailer, int8 [P, T].

    Args:
        promotions: One retailer's rows of `RetailData.promotions`.
        products: Product ids, int64 [P], ascending.
        steps: First days of the steps, datetime64[D] [T]; a step takes its week's promotions.
    """
    weeks, column = np.unique(mondays(steps), return_inverse=True)
    rows = promotions[promotions["product"].isin(products) & promotions["week"].isin(weeks)]
    row = np.searchsorted(products, rows["product"].to_numpy(np.int64))
    week = np.searchsorted(weeks, rows["week"].to_numpy().astype("datetime64[D]"))
    state = rows["display"].to_numpy(np.int8) + 2 * rows["mailer"].to_numpy(np.int8)
    table = np.zeros((len(products), len(weeks)), dtype=np.int8)
    table[row, week] = state
    return table[:, column]


def mondays(steps: Days) -> Days:
    """Return the Monday of each day's week, datetime64[D] [T]."""
    weekday = (steps.astype("datetime64[D]").astype(np.int64) + 3) % 7  # 1970-01-01: a Thursday
    first: Days = steps - weekday.astype("timedelta64[D]")
    return first


def planned_uplift(sold: Sales, state: States, key: Ints, keys: int) -> Floats:
    """Return the log ratio of expected sales under planned and under past promotions.

    For step t, a product's expected sales in a state are its mean over the steps before t in that
    state, shrunk towards its mean over all steps before t times the retailer's average uplift of
    the state. The ratio compares the state planned for t with those of the last steps, both with
    the expectation as of t, so that nothing but the promotions differs.

    Args:
        sold: Sales by product, P rows, T steps.
        state: `promotion_states` of the same products, int8 [P, T].
        key: Key of each product's series, int64 [P].
        keys: Number of keys K.

    Returns:
        Float64 [K, T, len(COMPARED)]; step t uses sales before t and promotions up to t.
    """
    steps = sold.units.shape[1]
    result = np.zeros((keys, steps, len(COMPARED)))
    memory = _Memory(sold.products.size)
    for t in range(1, steps):
        memory.add(sold.units[:, t - 1], state[:, t - 1])
        expected = memory.expected()
        planned = sum_by(key, _chosen(expected, state[:, t]), keys)
        for column, window in enumerate(COMPARED):
            past = [_chosen(expected, state[:, v]) for v in range(max(0, t - window), t)]
            usual = sum_by(key, np.mean(past, axis=0), keys)
            result[:, t, column] = np.log((planned + _HALF) / (usual + _HALF))
    return result


def _chosen(expected: Floats, state: States) -> Floats:
    chosen: Floats = expected[state, np.arange(expected.shape[1])]
    return chosen


class _Memory:
    """Sales and steps of each product in each state so far, float64 [STATES, P]."""

    def __init__(self, products: int) -> None:
        self._rows = np.arange(products)
        self._units = np.zeros((STATES, products))
        self._steps = np.zeros((STATES, products))

    def add(self, units: Floats, state: States) -> None:
        self._units[state, self._rows] += units
        self._steps[state, self._rows] += 1

    def expected(self) -> Floats:
        """Return expected sales of each product in each state, float64 [STATES, P]."""
        mean = self._units.sum(axis=0) / self._steps.sum(axis=0)
        base = self._steps @ mean
        total = self._units.sum(axis=1)
        uplift = np.divide(total, base, out=np.ones(STATES), where=base > 0)
        prior = uplift[:, None] * mean
        shrunk: Floats = (self._units + PRIOR_STEPS * prior) / (self._steps + PRIOR_STEPS)
        return shrunk
