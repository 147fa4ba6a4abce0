"""Renyi divergences of sampled Gaussian steps, and their conversion to epsilon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from securefl.privacy.accounting.gaussian_rdp import sampled_gaussian_divergences

ORDERS: tuple[float, ...] = (
    *(1 + x / 10.0 for x in range(1, 100)),
    *(float(order) for order in range(12, 64)),
    *(float(order) for order in (64, 80, 96, 128, 192, 256, 384, 512)),
)
"""Renyi orders; beyond Opacus' own, so that the best order of a small budget is among them."""


def sum_renyi(history: Sequence[tuple[float, float, int]]) -> list[float]:
    """Return the Renyi divergence at each of `ORDERS` of the composition of (sigma, q, steps).

    One step by Mironov, Talwar and Zhang 2019, section 3.3 (as in Opacus); divergences add up over
    steps (Mironov 2017, proposition 1).
    """
    total = [0.0] * len(ORDERS)
    for sigma, rate, steps in history:
        one = _renyi_of_a_step(sigma, rate)
        total = [before + steps * step for before, step in zip(total, one, strict=True)]
    return total


@lru_cache(maxsize=256)
def _renyi_of_a_step(sigma: float, rate: float) -> tuple[float, ...]:
    return tuple(sampled_gaussian_divergences(sigma, rate, ORDERS).tolist())


def renyi_epsilon(
    divergences: Sequence[float], delta: float, orders: Sequence[float] = ORDERS
) -> float:
    """Return the smallest epsilon over the orders (Balle et al. 2020, theorem 21).

    Args:
        divergences: Renyi divergence at each order.
        delta: In (0, 1).
        orders: The orders, each above 1.
    """
    order = np.array(orders, dtype=np.float64)
    epsilons = (
        np.array(divergences, dtype=np.float64)
        - (np.log(delta) + np.log(order)) / (order - 1)
        + np.log((order - 1) / order)
    )
    return math.inf if np.isnan(epsilons).all() else max(0.0, float(np.nanmin(epsilons)))
