"""Renyi divergence of one step of the sampled Gaussian mechanism, at any order above 1.

Mironov, Talwar and Zhang 2019 (arXiv:1908.10530), section 3.3: the logarithm of A_alpha over
alpha - 1. Written after Opacus, operation by operation, so that recorded epsilons keep their bits;
a test compares the two. Own code, because Opacus imports torch: an auditor, who has neither,
derives the same noise from an agreement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy  # which imports its parts when they are used

_ZERO = -math.inf
"""The logarithm of nothing."""
_NEGLIGIBLE = -30.0
"""Logarithm of the terms at which the series of a fractional order is cut."""


def sampled_gaussian_divergences(
    sigma: float, rate: float, orders: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Return the divergence of one step at each order, infinite without noise.

    Args:
        sigma: Noise multiplier, at least 0.
        rate: Sampling rate q in [0, 1].
        orders: Orders alpha above 1, finite.
    """
    return np.array([_divergence(rate, sigma, order) for order in orders], dtype=np.float64)


def _divergence(rate: float, sigma: float, order: float) -> float:
    if rate == 0:
        return 0.0
    if sigma == 0:
        return math.inf
    if rate == 1.0:
        return order / (2 * sigma**2)
    whole = float(order).is_integer()
    moment = _whole_moment(rate, sigma, int(order)) if whole else _moment(rate, sigma, order)
    return moment / (order - 1)


def _whole_moment(rate: float, sigma: float, order: int) -> float:
    """Return log A_alpha of an integer order: a binomial sum."""
    total = _ZERO
    for i in range(order + 1):
        weight = (
            math.log(scipy.special.binom(order, i))
            + i * math.log(rate)
            + (order - i) * math.log(1 - rate)
        )
        total = _log_add(total, weight + (i * i - i) / (2 * (sigma**2)))
    return float(total)


def _moment(rate: float, sigma: float, order: float) -> float:
    """Return log A_alpha of a fractional order: two series, over (-inf, z0] and [z0, inf)."""
    below, above = _ZERO, _ZERO
    split = sigma**2 * math.log(1 / rate - 1) + 0.5
    i = 0
    while True:
        coefficient = scipy.special.binom(order, i)
        log_coefficient = math.log(abs(coefficient))
        j = order - i
        first = log_coefficient + i * math.log(rate) + j * math.log(1 - rate)
        second = log_coefficient + j * math.log(rate) + i * math.log(1 - rate)
        tail_below = math.log(0.5) + _log_erfc((i - split) / (math.sqrt(2) * sigma))
        tail_above = math.log(0.5) + _log_erfc((split - j) / (math.sqrt(2) * sigma))
        one = first + (i * i - i) / (2 * (sigma**2)) + tail_below
        other = second + (j * j - j) / (2 * (sigma**2)) + tail_above
        # Beyond order + 1 the binomial coefficients alternate in sign.
        combine = _log_add if coefficient > 0 else _log_sub
        below, above = combine(below, one), combine(above, other)
        i += 1
        if max(one, other) < _NEGLIGIBLE:
            return _log_add(below, above)


def _log_erfc(x: float) -> float:
    return math.log(2) + float(scipy.special.log_ndtr(-x * 2**0.5))


def _log_add(x: float, y: float) -> float:
    low, high = min(x, y), max(x, y)
    return high if low == _ZERO else math.log1p(math.exp(low - high)) + high


def _log_sub(x: float, y: float) -> float:
    """Return log(e^x - e^y).

    Raises:
        ValueError: If y is larger than x.
    """
    if x < y:
        raise ValueError("The result of subtraction must be non-negative.")
    if y == _ZERO:
        return x
    if x == y:
        return _ZERO
    try:
        return math.log(math.expm1(x - y)) + y
    except OverflowError:
        return x
