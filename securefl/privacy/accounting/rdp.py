"""Renyi divergences of sampled Gaussian steps, and their conversion to epsilon."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache

from opacus.accountants import RDPAccountant
from opacus.accountants.analysis import rdp as opacus_rdp

ORDERS: tuple[float, ...] = (
    *(float(order) for order in RDPAccountant.DEFAULT_ALPHAS),
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
    divergences = opacus_rdp.compute_rdp(
        q=rate, noise_multiplier=sigma, steps=1, orders=list(ORDERS)
    )
    return tuple(float(divergence) for divergence in divergences)


def renyi_epsilon(
    divergences: Sequence[float], delta: float, orders: Sequence[float] = ORDERS
) -> float:
    """Return the smallest epsilon over the orders (Balle et al. 2020, theorem 21).

    Args:
        divergences: Renyi divergence at each order.
        delta: In (0, 1).
        orders: The orders, each above 1.
    """
    with warnings.catch_warnings():
        # The first or last order being best means that the bound could be tighter, not wrong.
        warnings.filterwarnings("ignore", message="Optimal order is the")
        epsilon, _ = opacus_rdp.get_privacy_spent(
            orders=list(orders), rdp=list(divergences), delta=delta
        )
    return max(0.0, float(epsilon))
