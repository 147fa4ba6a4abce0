"""Predicted units of each product in held-out weeks, given elasticities, prices and visits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import rel_entr

from securefl.ml.metrics.forecasting import forecast_tally
from securefl.ml.metrics.spec import Split
from securefl.ml.metrics.sums import Ratio
from securefl.tasks.demand.series import Floats, Ints
from securefl.tasks.pricing.price_list import Lines, PriceList, added


@dataclass(frozen=True)
class PricedSales:
    """One retailer's sales of the evaluated products.

    Attributes:
        rows: Their rows in the price list, int64 [P].
        category: Key of each, int64 [P].
        relative: Log prices relative to the usual ones, float64 [P, T].
        units: Units sold, float64 [P, T].
        visits: Baskets per week, float64 [T].
        splits: Weeks of training, validation and test.
    """

    rows: Ints
    category: Ints
    relative: Floats
    units: Floats
    visits: Floats
    splits: dict[Split, range]

    def expected(self, elasticity: Floats, split: Split) -> Floats:
        """Return predicted units given prices and visits, float64 [P, t].

        A product's rate per visit at its usual price is fitted to its sales in all weeks before
        the split, under the same elasticities (float64 [K]).
        """
        weeks = self.splits[split]
        before = slice(0, weeks.start) if split != "train" else slice(weeks.start, weeks.stop)
        effect = np.exp(elasticity[self.category][:, None] * self.relative) * self.visits
        rate = self.units[:, before].sum(axis=1) / effect[:, before].sum(axis=1)
        expected: Floats = rate[:, None] * effect[:, weeks.start : weeks.stop]
        return expected

    def scored(self, elasticity: Floats, split: Split) -> dict[str, Ratio]:
        """Return the prediction errors of sales; elasticities of 0 ignore prices.

        `deviance` is the mean Poisson deviance, twice the difference of the log-likelihood of the
        units to the saturated model's (McCullagh and Nelder 1989, section 2.3).
        """
        weeks = self.splits[split]
        sold = self.units[:, weeks.start : weeks.stop].reshape(-1)
        expected = self.expected(elasticity, split).reshape(-1)
        deviance = 2 * (rel_entr(sold, expected) - (sold - expected))
        found = forecast_tally(expected, sold).ratios
        errors = {f"units_{name}": found[name] for name in ("wape", "mape")}
        return {"deviance": Ratio(float(deviance.sum()), float(sold.size))} | errors


def priced_sales(
    lines: Lines, prices: PriceList, splits: dict[Split, range], min_mean: float
) -> PricedSales:
    """Return the products that sell at least `min_mean` units a week over the training weeks."""
    weeks = splits["test"].stop
    row = prices.rows(lines.product)
    cell = row[row >= 0] * weeks + lines.week[row >= 0]
    units = added(cell, lines.units[row >= 0], (len(prices.products), weeks))
    rows = np.flatnonzero(units[:, : splits["train"].stop].mean(axis=1) >= min_mean)
    trips = np.unique(np.stack([lines.customer, lines.week, lines.basket]), axis=1)[1]
    visits = np.bincount(trips, minlength=weeks).astype(np.float64)
    return PricedSales(
        rows, prices.category[rows], prices.relative[rows], units[rows], visits, splits
    )


def elasticity_metrics(value: Floats, error: Floats, present: Ints) -> dict[str, Ratio]:
    """Return summary metrics of the elasticities of a retailer's categories (int64 [C], keys)."""
    count = float(len(present))
    return {
        "standard_error": Ratio(float(error[present].sum()), count),
        "elasticity": Ratio(float(value[present].sum()), count),
        "negative": Ratio(float((value[present] < 0).sum()), count),
        "significant": Ratio(float((value + 1.96 * error < 0)[present].sum()), count),
    }


def no_elasticity_metrics() -> dict[str, Ratio]:
    """Return the summary metrics without elasticities, which count for nothing in a sum."""
    return dict.fromkeys(
        elasticity_metrics(np.zeros(1), np.zeros(1), np.zeros(0, dtype=np.int64)), Ratio(0, 0)
    )
