"""Robust price recommendation: one price for all customers, within limits.

No input depends on who is buying, which excludes personalized prices: a price follows from the
price list, a product's sales and cost, and the elasticity of its category.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import ndtri

from securefl.tasks.pricing.settings import PricingSettings

CURVE: Final = tuple(percent / 100 for percent in range(-20, 21, 5))
"""Price changes of the revenue and margin curves."""

_NEGLIGIBLE: Final = 1e-3
"""Improvement of the margin, as a share, below which a price is not changed."""


@dataclass(frozen=True)
class Product:
    """Inputs of the price of one product at one retailer.

    Attributes:
        price: Current price of a unit.
        cost: Cost of a unit to the retailer.
        units: Units per week at that price.
        elasticity: Elasticity of its category.
        error: Standard error of the elasticity.
    """

    price: float
    cost: float
    units: float
    elasticity: float
    error: float

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the elasticity's interval, lower bound first, clipped at 0 from above."""
        reach = float(ndtri((1 + confidence) / 2)) * self.error
        return min(self.elasticity - reach, 0.0), min(self.elasticity + reach, 0.0)

    def sold(self, price: float, elasticity: float) -> float:
        """Return units per week at another price: log units are linear in log price."""
        return self.units * float((price / self.price) ** elasticity)

    def revenue(self, price: float, elasticity: float) -> float:
        """Return the weekly revenue."""
        return price * self.sold(price, elasticity)

    def margin(self, price: float, elasticity: float) -> float:
        """Return the weekly margin, revenue less cost."""
        return (price - self.cost) * self.sold(price, elasticity)

    def worst_margin(self, price: float, confidence: float) -> float:
        """Return the margin under the interval's worst elasticity for this price.

        The worst one is one of the two ends, since the margin is monotone in the elasticity.
        """
        return min(self.margin(price, end) for end in self.interval(confidence))


def price_range(product: Product, settings: PricingSettings) -> tuple[float, float]:
    """Return the lowest and the highest price that may be recommended.

    A product priced below the floor may keep its price, and is not made cheaper.
    """
    floor = product.cost * (1 + settings.min_margin)
    low = max(product.price * (1 - settings.max_change), min(floor, product.price))
    return low, product.price * (1 + settings.max_change)


def recommended(product: Product, settings: PricingSettings) -> float:
    """Return the price with the largest worst-case margin over the elasticity's interval.

    The current price has no uncertainty: it is kept unless another one is better for all of the
    interval. The objective is smooth on either side of it, and each side is searched separately
    (Brent 1973, bounded).
    """
    low, high = price_range(product, settings)
    best, value = product.price, product.margin(product.price, product.elasticity)
    least = value + _NEGLIGIBLE * abs(value)
    for bounds in ((low, product.price), (product.price, high)):
        if bounds[1] - bounds[0] <= 0:
            continue
        found = minimize_scalar(
            lambda price: -product.worst_margin(price, settings.confidence),
            bounds=bounds,
            method="bounded",
        )
        if -found.fun > max(value, least):
            best, value = float(found.x), -float(found.fun)
    return best


def advice_row(product: Product, settings: PricingSettings) -> dict[str, float]:
    """Return the output columns of one product; changes are per week, in currency."""
    price = recommended(product, settings)
    low, high = price_range(product, settings)
    now = product.margin(product.price, product.elasticity)
    ends = product.interval(settings.confidence)
    margins = [product.margin(price, end) - now for end in ends]
    takings = product.revenue(product.price, product.elasticity)
    revenues = [product.revenue(price, end) - takings for end in ends]
    return {
        "price": product.price,
        "lowest_allowed": low,
        "highest_allowed": high,
        "recommended": price,
        "change_percent": 100 * (price / product.price - 1),
        "elasticity": product.elasticity,
        "standard_error": product.error,
        "units_a_week": product.units,
        "units_expected": product.sold(price, product.elasticity),
        "revenue_change_low": min(revenues),
        "revenue_change_high": max(revenues),
        "margin_change": product.margin(price, product.elasticity) - now,
        "margin_change_low": min(margins),
        "margin_change_high": max(margins),
    }


def price_curve(product: Product, settings: PricingSettings) -> pd.DataFrame:
    """Return revenue and margin at other prices in percent of today's, with bounds, by row."""
    rows = []
    for change in CURVE:
        price = product.price * (1 + change)
        row = {"change_percent": 100 * change}
        for name, figure in (("revenue", product.revenue), ("margin", product.margin)):
            now = figure(product.price, product.elasticity)
            ends = [figure(price, end) / now for end in product.interval(settings.confidence)]
            row[f"{name}_percent"] = 100 * figure(price, product.elasticity) / now
            row |= {f"{name}_low": 100 * min(ends), f"{name}_high": 100 * max(ends)}
        rows.append(row)
    return pd.DataFrame(rows)


def usual_product(elasticity: float, error: float, settings: PricingSettings) -> Product:
    """Return a representative product of a category, with price and weekly sales of 1."""
    return Product(1.0, settings.cost_share, 1.0, float(elasticity), float(error))
