"""Weekly simulation of a stock policy, newsvendor or (s, S), and its costs.

Sales are used as demand: unmet demand is not recorded, so that all policies are evaluated on demand
that is too low where the shop itself ran out of stock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from securefl.ml.metrics.sums import MetricSums, Ratio
from securefl.tasks.inventory.settings import InventorySettings

Floats = npt.NDArray[np.float64]

_SHORT: Final = 1.5
"""Weeks of demand up to which an order quantity is not worth waiting for."""


@dataclass(frozen=True)
class ReorderLevels:
    """Reorder points and order-up-to levels, in units, float64 [K, T] each.

    Attributes:
        reorder: s; an order is placed at an inventory position of at most s.
        order_up_to: S; orders raise the inventory position to S.
    """

    reorder: Floats
    order_up_to: Floats


def order_levels(
    quantiles: Floats, levels: tuple[float, ...], settings: InventorySettings
) -> ReorderLevels:
    """Return the levels of both policies from quantiles of mean weekly demand.

    newsvendor: the quantile at the critical level (Arrow, Harris and Marschak 1951). reorder: s is
    that quantile of the demand until the next order can arrive, and S lies one economic order
    quantity above it (Silver, Pyke and Thomas 2017: s and Q one after the other, and S = s + Q);
    the median stands for mean demand. Where that quantity lasts for no more than `_SHORT` weeks, an
    order is due nearly every week whatever S is, and S is s (Ehrhardt and Mosier 1984).

    Args:
        quantiles: Of mean demand over the horizon, float64 [K, T, Q], ascending in the last axis.
        levels: Their Q probabilities.
        settings: Costs and policy.
    """
    protected = settings.horizon * at_level(quantiles, levels, settings.critical_level)
    if settings.policy == "newsvendor":
        return ReorderLevels(protected, protected)
    weekly = quantiles[..., levels.index(0.5)]
    batch = np.sqrt(2 * settings.order_cost * weekly / settings.holding_cost)
    return ReorderLevels(protected, protected + np.where(batch > _SHORT * weekly, batch, 0.0))


def at_level(quantiles: Floats, levels: tuple[float, ...], level: float) -> Floats:
    """Return the quantile at a level between the first and the last, float64 [K, T].

    It is interpolated linearly in the normal score, which is exact for a normal distribution.
    """
    scores, wanted = ndtri(levels), ndtri(level)
    right = int(np.clip(np.searchsorted(scores, wanted), 1, len(levels) - 1))
    share = (wanted - scores[right - 1]) / (scores[right] - scores[right - 1])
    found: Floats = quantiles[..., right - 1] * (1 - share) + quantiles[..., right] * share
    return found


@dataclass(frozen=True)
class Weeks:
    """Result of a simulation by week, in units, float64 [K, T] each.

    Attributes:
        demand: Units demanded.
        served: Units delivered immediately.
        left: Stock at the end of the week.
        orders: Orders placed, 0 or 1.
    """

    demand: Floats
    served: Floats
    left: Floats
    orders: Floats


def simulate(demand: Floats, levels: ReorderLevels, settings: InventorySettings) -> Weeks:
    """Simulate the stock of K series over T weeks.

    A week begins with the arrival of the order of `lead_time` weeks ago; then the inventory
    position, outstanding orders included, is reviewed and an order may be placed; then demand
    occurs. The first week begins with S in stock. Under `newsvendor` every week begins with S and
    nothing is carried over.

    Args:
        demand: Units demanded, float64 [K, T].
        levels: Levels set before each week.
        settings: Policy and lead time.
    """
    if settings.policy == "newsvendor":
        served = np.minimum(demand, levels.order_up_to)
        return Weeks(demand, served, levels.order_up_to - served, np.zeros_like(demand))
    return _reordered(demand, levels, settings)


def _reordered(demand: Floats, levels: ReorderLevels, settings: InventorySettings) -> Weeks:
    """Simulate the (s, S) policy; stock below 0 is backordered demand, met on arrival."""
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
    """Return costs and service level of the last `counted` weeks.

    `stock_cost` is the cost of holding, shortage and orders per unit demanded, `fill_rate` the
    share of demand delivered immediately, `in_stock` the share of weeks without shortage, and
    `left_over` the stock at the ends of weeks per unit demanded. A backordered unit counts as
    short once, in the week of its demand.
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
