"""Stock week by week under a rule for ordering, and what it costs.

Sales stand for demand: what was asked for and not there is in no record, so that all rules are
judged on demand that is too low where the shop itself ran out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from securefl.ml.metrics.sums import MetricSums, Ratio
from securefl.tasks.inventory.settings import InventorySettings

Floats = npt.NDArray[np.float64]

_SHORT: Final = 1.5
"""Weeks of demand up to which an order quantity is not worth waiting for."""


@dataclass(frozen=True)
class ReorderLevels:
    """When to order and how far to fill up, in units, float64 [K, T] each.

    Attributes:
        reorder: s; at a stock of so many units or fewer an order is placed.
        order_up_to: S, what stock and orders on the way are filled up to.
    """

    reorder: Floats
    order_up_to: Floats


def order_levels(
    quantiles: Floats, levels: tuple[float, ...], settings: InventorySettings
) -> ReorderLevels:
    """The levels of both rules from quantiles of mean weekly demand over the horizon.

    newsvendor: the quantile at the critical level (Arrow, Harris and Marschak 1951). reorder: s is
    that quantile of the demand until the next order can arrive, and S lies one economic order
    quantity above it (Silver, Pyke and Thomas 2017: s and Q one after the other, and S = s + Q);
    the median stands for mean demand. Where that quantity lasts for no more than `_SHORT` weeks, an
    order is due nearly every week whatever S is, and S is s (Ehrhardt and Mosier 1984).

    Args:
        quantiles: Float64 [K, T, Q], ascending in the last axis.
        levels: Their Q probabilities.
        settings: Costs and rule.
    """
    protected = settings.horizon * at_level(quantiles, levels, settings.critical_level)
    if settings.policy == "newsvendor":
        return ReorderLevels(protected, protected)
    weekly = quantiles[..., levels.index(0.5)]
    batch = np.sqrt(2 * settings.order_cost * weekly / settings.holding_cost)
    return ReorderLevels(protected, protected + np.where(batch > _SHORT * weekly, batch, 0.0))


def at_level(quantiles: Floats, levels: tuple[float, ...], level: float) -> Floats:
    """The quantile at any level between the first and the last, float64 [K, T].

    Between two levels it is linear in the normal score, which is exact for a normal law.
    """
    scores, wanted = norm.ppf(levels), norm.ppf(level)
    right = int(np.clip(np.searchsorted(scores, wanted), 1, len(levels) - 1))
    share = (wanted - scores[right - 1]) / (scores[right] - scores[right - 1])
    found: Floats = quantiles[..., right - 1] * (1 - share) + quantiles[..., right] * share
    return found


@dataclass(frozen=True)
class Weeks:
    """What happened in each week, in units, float64 [K, T] each.

    Attributes:
        demand: What was asked for.
        served: What of it was there at once.
        left: Stock at the end of the week.
        orders: Orders placed, 0 or 1.
    """

    demand: Floats
    served: Floats
    left: Floats
    orders: Floats


def simulate(demand: Floats, levels: ReorderLevels, settings: InventorySettings) -> Weeks:
    """Run the stock of K series over T weeks.

    A week begins with the arrival of what was ordered `lead_time` weeks ago and a look at the
    stock, orders on the way included, after which an order may be placed; then demand comes. The
    first week begins with S in stock. Under `newsvendor` every week begins with S and nothing is
    carried over.

    Args:
        demand: Units asked for, float64 [K, T].
        levels: What was decided before each week.
        settings: The rule and its lead time.
    """
    if settings.policy == "newsvendor":
        served = np.minimum(demand, levels.order_up_to)
        return Weeks(demand, served, levels.order_up_to - served, np.zeros_like(demand))
    return _reordered(demand, levels, settings)


def _reordered(demand: Floats, levels: ReorderLevels, settings: InventorySettings) -> Weeks:
    """The stock may fall below 0 where unmet demand is backordered; it is served on arrival."""
    stock = levels.order_up_to[:, 0].copy()
    coming = np.zeros((settings.lead_time + 1, len(demand)))
    weeks = Weeks(demand, *(np.zeros_like(demand) for _ in range(3)))
    for week in range(demand.shape[1]):
        position = stock + coming.sum(axis=0)
        placed = np.where(
            position <= levels.reorder[:, week], levels.order_up_to[:, week] - position, 0.0
        )
        weeks.orders[:, week] = placed > 0
        coming[settings.lead_time] += placed
        stock = stock + coming[0]
        coming = np.roll(coming, -1, axis=0)
        coming[-1] = 0.0
        weeks.served[:, week] = np.clip(stock, 0.0, demand[:, week])
        stock = stock - demand[:, week]
        if settings.unmet == "lost":
            stock = np.maximum(stock, 0.0)
        weeks.left[:, week] = np.maximum(stock, 0.0)
    return weeks


def stock_metrics(weeks: Weeks, counted: int, settings: InventorySettings) -> MetricSums:
    """Costs and service of the last `counted` weeks.

    `stock_cost` is holding, shortage and orders over the units asked for, `fill_rate` the share of
    these that was served at once, `in_stock` the share of weeks in which all were, and `left_over`
    what was left at the ends of the weeks over the units asked for. A unit that waits is short
    once, in the week in which it was asked for.
    """
    last = slice(weeks.demand.shape[1] - counted, None)
    demand, served, left = (part[:, last] for part in (weeks.demand, weeks.served, weeks.left))
    missed = float((demand - served).sum())
    cost = settings.holding_cost * float(left.sum()) + settings.shortage_cost * missed
    cost += settings.order_cost * float(weeks.orders[:, last].sum())
    asked = float(demand.sum())
    return MetricSums(
        {
            "stock_cost": Ratio(cost, asked),
            "fill_rate": Ratio(float(served.sum()), asked),
            "in_stock": Ratio(float((served >= demand).sum()), float(demand.size)),
            "left_over": Ratio(float(left.sum()), asked),
        }
    )
