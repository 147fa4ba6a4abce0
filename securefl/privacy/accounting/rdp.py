"""Renyi divergences of sampled Gaussian steps, and their conversion to epsilon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import scipy  # which imports its parts when they are used

from securefl.errors import ConfigError
from securefl.privacy.accounting.gaussian_rdp import sampled_gaussian_divergences

_LARGE_ORDERS = tuple(1 << bits for bits in range(10, 18))
"""Without them no noise would seem enough for epsilon 0.005: an order a gives ln(1 / delta) / a."""
_ORDERS_OF_OPACUS: tuple[float, ...] = (
    *(1 + x / 10.0 for x in range(1, 100)),
    *(float(order) for order in range(12, 64)),
    *(float(order) for order in (64, 80, 96, 128, 192, 256, 384, 512)),
)
ORDERS: tuple[float, ...] = (*_ORDERS_OF_OPACUS, *map(float, _LARGE_ORDERS))
"""Renyi orders; beyond Opacus' own, so that the best order of a small budget is among them."""
_SMALLEST_SAMPLED = 1e-2
"""For a smaller sigma on samples, where epsilon is above 1000, the series may never end."""

Vector = npt.NDArray[np.float64]


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
    if sigma < (_SMALLEST_SAMPLED if rate < 1 else 1e-100):  # whose square is 0
        return (math.inf,) * len(ORDERS)
    divergences = sampled_gaussian_divergences(sigma, rate, _ORDERS_OF_OPACUS)
    large = (_at_large_order(order, sigma, rate) for order in _LARGE_ORDERS)
    return (*(float(divergence) for divergence in divergences), *large)


def _at_large_order(order: int, sigma: float, rate: float) -> float:
    """Return the divergence at an integer order, by the sum of section 3.3 as one vector.

    Term by term in a loop it would take seconds at these orders.
    """
    with np.errstate(over="ignore"):
        moments = np.float64(order) / sigma / sigma / 2
        if rate == 1 or not np.isfinite(moments * order):
            return float(moments) if rate == 1 else math.inf
    drawn = np.arange(2.0, order + 1)
    growth = drawn * (drawn - 1) / (2 * sigma**2)
    weights = _log_binomials(order) + (order - drawn) * np.log1p(-rate) + drawn * np.log(rate)
    # The weights of all terms sum to 1: only by how much the moments exceed 1 matters.
    excess = scipy.special.logsumexp(weights + growth + np.log(-np.expm1(-growth)))
    return float(np.logaddexp(0.0, excess) / (order - 1))


@lru_cache(maxsize=len(_LARGE_ORDERS))
def _log_binomials(order: int) -> Vector:
    """Return ln C(a, k) for k = 2..a."""
    drawn = np.arange(2.0, order + 1)
    return np.asarray(
        scipy.special.gammaln(order + 1)
        - scipy.special.gammaln(drawn + 1)
        - scipy.special.gammaln(order - drawn + 1)
    )


def checked_bound(epsilon: float) -> float:
    """Return epsilon, or 0 if it is negative; every accountant's figure goes through here.

    Raises:
        UndefinedEpsilonError: If it is not a number. `max(0.0, nan)` is 0, and a comparison with
            a budget lets NaN pass.
    """
    if math.isnan(epsilon):
        raise UndefinedEpsilonError("epsilon of these events cannot be computed: not a number")
    return max(0.0, epsilon)


class UndefinedEpsilonError(ConfigError):
    """An accountant's arithmetic broke down: there is no figure, and none may be assumed."""

    wire_name: ClassVar[str] = "UndefinedEpsilonError"


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
    return math.inf if np.isnan(epsilons).all() else checked_bound(float(np.nanmin(epsilons)))
