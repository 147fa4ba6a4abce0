"""The price to recommend: one for everybody, within limits, good for all of an interval.

Nothing here can be told who is buying: a price follows from the price list, what a product sells,
what it costs, and the elasticity of its category.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from securefl.tasks.pricing.settings import PricingSettings

CURVE: Final = tuple(percent / 100 for percent in range(-20, 21, 5))
"""Changes of a price at which revenue and margin are told."""

_NEGLIGIBLE: Final = 1e-3
"""A share of the margin that is no reason to change a price."""


@dataclass(frozen=True)
class Product:
    """What is known of one product at one retailer.

    Attributes:
        price: What a unit costs its buyers now.
        cost: What it costs the retailer.
        units: Units a week at that price.
        elasticity: Of its category.
        error: Standard error of that.
    """

    price: float
    cost: float
    units: float
    elasticity: float
    error: float

    def interval(self, confidence: float) -> tuple[float, float]:
        """Bounds on the elasticity, the lower first; demand that grows with a price is none."""
        reach = float(norm.ppf((1 + confidence) / 2)) * self.error
        return min(self.elasticity - reach, 0.0), min(self.elasticity + reach, 0.0)

    def sold(self, price: float, elasticity: float) -> float:
        """Units a week at another price: log units are linear in log price."""
        return self.units * float((price / self.price) ** elasticity)

    def revenue(self, price: float, elasticity: float) -> float:
        """What the buyers pay in a week."""
        return price * self.sold(price, elasticity)

    def margin(self, price: float, elasticity: float) -> float:
        """What is left of it after the cost."""
        return (price - self.cost) * self.sold(price, elasticity)

    def worst_margin(self, price: float, confidence: float) -> float:
        """The margin under the elasticity of the interval that is worst for this price.

        It is one of the two ends, since the margin is monotone in the elasticity.
        """
        return min(self.margin(price, end) for end in self.interval(confidence))


def price_range(product: Product, settings: PricingSettings) -> tuple[float, float]:
    """Lowest and highest price that may be recommended.

    A product that is sold below the floor may stay where it is, and is not made cheaper.
    """
    floor = product.cost * (1 + settings.min_margin)
    low = max(product.price * (1 - settings.max_change), min(floor, product.price))
    return low, product.price * (1 + settings.max_change)


def recommended(product: Product, settings: PricingSettings) -> float:
    """The price whose margin is largest in the worst case of the elasticity's interval.

    The present price has no worst case: it is kept unless another one is better for all of the
    interval. On either side of it the objective is smooth, and searched by itself (Brent 1973,
    bounded).
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
    """What a retailer reads about one product; shares are of the present week's figures."""
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
    """Revenue and margin at other prices as shares of today's, with bounds, a row a change."""
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
    """A product of a category, its usual price and its weekly sales both being 1."""
    return Product(1.0, settings.cost_share, 1.0, float(elasticity), float(error))
