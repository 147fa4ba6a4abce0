"""A retailer's price list: the price of each product in each week, the same for every customer.

Prices are public in the shop, and agreed facts where the retailers supply them (`data.prices`).
Otherwise a price is the median paid in a week, from the receipts. Those depend on who bought, so
that under a budget the list has to be supplied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from securefl.data.tables import RetailerTables
from securefl.tasks.common.amounts import bounded_amounts
from securefl.tasks.demand.series import (
    UNKNOWN,
    WEEK,
    Days,
    Floats,
    Ints,
    Vocabulary,
    bounded_units,
)
from securefl.tasks.pricing.settings import PricingSettings

_LEAST_UNITS: Final = 1e-6
"""Fewest units of a line that has a price; a public constant."""


@dataclass(frozen=True)
class PriceList:
    """Prices of P products in T weeks.

    Attributes:
        products: Product ids, int64 [P], ascending.
        category: Key of each, int64 [P].
        usual: Median price in the training weeks, float64 [P].
        shelf: The same without discounts, float64 [P].
        paid: Price paid for a unit, shelf price less discount, float64 [P, T]; the usual price in
            weeks without a sale.
        relative: log(paid / usual), clipped at the agreed limit, float64 [P, T].
    """

    products: Ints
    category: Ints
    usual: Floats
    shelf: Floats
    paid: Floats
    relative: Floats

    def rows(self, products: Ints) -> Ints:
        """Return the row of each product id, int64; -1 where it has no price."""
        if not len(self.products):
            return np.full(products.shape, -1, dtype=np.int64)
        place = np.searchsorted(self.products, products).clip(max=len(self.products) - 1)
        return np.where(self.products[place] == products, place, -1)


def added(cells: Ints, amounts: Floats, shape: tuple[int, int]) -> Floats:
    """Return sums of amounts by cell of a row-major table, float64 of that shape."""
    table = np.bincount(cells, amounts, minlength=shape[0] * shape[1]).astype(np.float64)
    return table.reshape(shape)


def supplied_prices(
    supplied: pd.DataFrame, words: Vocabulary, weeks: Days, training: int, settings: PricingSettings
) -> PriceList:
    """Return the price list of agreed facts, of which no line of a customer is a part.

    Args:
        supplied: One retailer's prices, columns `product`, `week` and `price`.
        words: See `price_list`.
        weeks: First days of the weeks, datetime64[D] [T].
        training: See `price_list`.
        settings: See `price_list`.
    """
    week = (supplied["week"].to_numpy().astype("datetime64[D]") - weeks[0]).astype(np.int64)
    table = (
        supplied.assign(week=week // WEEK.days)
        .pivot(index="product", columns="week", values="price")
        .reindex(columns=range(len(weeks)))
    )
    return _listed(table, table, words, training, settings)


@dataclass(frozen=True)
class Lines:
    """Purchase lines of known customers at a price, in any order, parallel arrays [L]."""

    customer: Ints
    product: Ints
    week: Ints
    basket: Ints
    units: Floats
    paid: Floats
    shelf: Floats

    @classmethod
    def of(cls, tables: RetailerTables, weeks: Days) -> Lines:
        """Return the lines within the weeks; unknown customers and free items are left out.

        So is a line of no units, which has no price.
        """
        lines = tables.transactions
        bought = bounded_units(lines["quantity"].to_numpy(np.float64))
        days = lines["time"].to_numpy().astype("datetime64[D]")
        week = (days - weeks[0]).astype(np.int64) // WEEK.days
        chosen = (week >= 0) & (week < len(weeks)) & (lines["value"].to_numpy() > 0)
        chosen &= (lines["customer"].to_numpy() >= 0) & (lines["product"].to_numpy() >= 0)
        chosen &= bought >= _LEAST_UNITS
        kept, units = lines[chosen], bought[chosen]
        value, discount = (
            bounded_amounts(kept[name].to_numpy(np.float64)) for name in ("value", "discount")
        )
        return cls(
            kept["customer"].to_numpy(np.int64),
            kept["product"].to_numpy(np.int64),
            week[chosen],
            kept["basket"].to_numpy(np.int64),
            units,
            value / units,
            (value + discount) / units,
        )


def price_list(
    lines: Lines, words: Vocabulary, weeks: int, training: int, settings: PricingSettings
) -> PriceList:
    """Return the prices of products that are known in enough of the training weeks.

    Args:
        lines: One retailer's lines.
        words: The agreed categories; products of none have no elasticity and are left out.
        weeks: Number of weeks T.
        training: Number of training weeks; later weeks do not influence the selection.
        settings: The share of weeks that is enough, and the limit of relative prices.
    """
    frame = pd.DataFrame({"product": lines.product, "week": lines.week})
    medians = {
        name: frame.assign(price=values)
        .groupby(["product", "week"])["price"]
        .median()
        .unstack()
        .reindex(columns=range(weeks))
        for name, values in (("paid", lines.paid), ("shelf", lines.shelf))
    }
    return _listed(medians["paid"], medians["shelf"], words, training, settings)


def _listed(
    of_paid: pd.DataFrame,
    of_shelf: pd.DataFrame,
    words: Vocabulary,
    training: int,
    settings: PricingSettings,
) -> PriceList:
    """Return the list of two tables of products by week, NaN where a price is not known."""
    known = of_paid.iloc[:, :training].notna().mean(axis=1).to_numpy()
    products = of_paid.index.to_numpy(np.int64)
    category = words.of(products)
    kept = (known >= settings.priced_share) & (category != UNKNOWN)
    paid, shelf = (table.to_numpy()[kept] for table in (of_paid, of_shelf))
    usual = np.nanmedian(paid[:, :training], axis=1) if kept.any() else np.zeros(0)
    normal = np.nanmedian(shelf[:, :training], axis=1) if kept.any() else np.zeros(0)
    paid = np.where(np.isnan(paid), usual[:, None], paid)
    relative = np.log(paid / usual[:, None]).clip(-settings.log_limit, settings.log_limit)
    return PriceList(products[kept], category[kept], usual, normal, paid, relative)
