"""Renyi divergence of one step of the sampled Gaussian mechanism, at any order above 1.

Mironov, Talwar and Zhang 2019 (arXiv:1908.10530), section 3.3: the logarithm of A_alpha over
alpha - 1. Written after Opacus, operation by operation, so that recorded epsilons keep their bits;
a test compares the two. Own code, because Opacus imports torch: an auditor, who has neither,
derives the same noise from an agreement.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # which imports its parts when they are used

_ZERO = -math.inf
"""The logarithm of nothing."""
_NEGLIGIBLE = -30.0
"""Logarithm of the terms at which the series of a fractional order is cut."""
_BLOCK = 32
"""Terms computed at once; most series are cut within two blocks."""


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
    for one, other, positive in _terms(rate, sigma, order):
        # Beyond order + 1 the binomial coefficients alternate in sign.
        combine = _log_add if positive else _log_sub
        below, above = combine(below, one), combine(above, other)
        if max(one, other) < _NEGLIGIBLE:
            break
    return _log_add(below, above)


def _terms(rate: float, sigma: float, order: float) -> Iterator[tuple[float, float, bool]]:
    """Yield logarithms of the terms of both series, and whether they are added: without end.

    A block at a time, with the operations of a single term in their order, and so their bits.
    """
    drawn, left = math.log(rate), math.log(1 - rate)
    split = sigma**2 * math.log(1 / rate - 1) + 0.5
    for start in count(0, _BLOCK):
        i = np.arange(start, start + _BLOCK)
        j = order - i
        coefficients, positive = _binomials(order, start)
        first = coefficients + i * drawn + j * left
        second = coefficients + j * drawn + i * left
        one = first + (i * i - i) / (2 * (sigma**2))
        other = second + (j * j - j) / (2 * (sigma**2))
        one = one + _log_tails((i - split) / (math.sqrt(2) * sigma))
        other = other + _log_tails((split - j) / (math.sqrt(2) * sigma))
        yield from zip(one.tolist(), other.tolist(), positive, strict=True)


@lru_cache(maxsize=512)
def _binomials(order: float, start: int) -> tuple[npt.NDArray[np.float64], list[bool]]:
    """Return log |C(order, i)| for a block of i, and whether C is positive."""
    values = scipy.special.binom(order, np.arange(start, start + _BLOCK)).tolist()
    return np.array([math.log(abs(value)) for value in values]), [value > 0 for value in values]


def _log_tails(x: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Return log(erfc(x) / 2)."""
    tails: npt.NDArray[np.float64] = scipy.special.log_ndtr(-x * 2**0.5)
    return math.log(0.5) + (math.log(2) + tails)


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
