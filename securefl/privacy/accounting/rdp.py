"""Renyi divergences of sampled Gaussian steps, and from divergences to epsilon."""

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
"""Renyi orders; beyond Opacus' own, so that small budgets are not priced at the last one."""


def sum_renyi(history: Sequence[tuple[float, float, int]]) -> list[float]:
    """Renyi divergence at each of `ORDERS` of the composition of (sigma, q, steps)."""
    total = [0.0] * len(ORDERS)
    for sigma, rate, steps in history:
        one = _renyi_of_a_step(sigma, rate)
        total = [before + steps * more for before, more in zip(total, one, strict=True)]
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
    """The smallest epsilon over the orders (Balle et al. 2020, theorem 21)."""
    with warnings.catch_warnings():
        # The first or last order being best means that the bound could be tighter, not wrong.
        warnings.filterwarnings("ignore", message="Optimal order is the")
        epsilon, _ = opacus_rdp.get_privacy_spent(
            orders=list(orders), rdp=list(divergences), delta=delta
        )
    return max(0.0, float(epsilon))
