"""Bound that relates a sum of discrete Gaussian shares to a post-processed continuous Gaussian.

Let m shares of variance parameter v each, added to an integer vector, be the noise of a mechanism.
For any s^2 < m v its output has, at every value, the probability that one gets by adding a
continuous Gaussian of variance m v - s^2 to the same vector and rounding each coordinate at random
to a discrete Gaussian of variance s^2 around it, up to a factor between exp(-x) and exp(x):

    x = d ( sum over k = 1..m-1 of g(v k / (k + 1)) + g(s^2) ),
    g(c) = log((1 + e(c)) / (1 - e(c))),   e(c) = 2 sum over j >= 1 of exp(-2 pi^2 c j^2).

The first terms bring the sum of the shares to one discrete Gaussian (Kairouz, Liu and Steinke
2021, arXiv:2102.06387), the last that to a rounded continuous one; both are Poisson summation.
The rounding does not depend on the data. So whatever holds for the continuous Gaussian, by any
accountant and under any sampling, holds here at epsilon + 2 T x and delta exp(T x) over T steps.
docs/explanation/noise-shares.md has the proof (lemmas 1 and 2, and the theorem after them).
"""

from __future__ import annotations

import math

_EXPONENT = 2 * math.pi**2
_MOST_TERMS = 64
"""Terms of lemma 1 that are added one by one; the rest is bounded by the last of them."""


def log_factor(share_variance: float, shares: int, rounding: float) -> float:
    """Return x for one coordinate (lemmas 1 and 2); infinite where the bound does not apply.

    Args:
        share_variance: v, in squared integer units.
        shares: m.
        rounding: s^2, below m v.
    """
    if rounding >= shares * share_variance:
        return math.inf
    total = _gap(rounding)
    for k in range(1, min(shares, _MOST_TERMS)):
        total += _gap(share_variance * k / (k + 1))
    # The terms fall with k, so that the last one bounds each of those omitted.
    left = max(0, shares - _MOST_TERMS)
    return total + left * _gap(share_variance * _MOST_TERMS / (_MOST_TERMS + 1))


def rounding_variance(allowed: float) -> float:
    """Return the s^2 with g(s^2) <= `allowed` in (0, 1]: log(8 / allowed) / (2 pi^2)."""
    # g(c) is about 4 exp(-2 pi^2 c); 8 in place of 4 covers the rest of its series.
    return math.log(8 / allowed) / _EXPONENT


def least_share_variance(allowed: float, shares: int) -> int:
    """Return a v with which the m - 1 terms of lemma 1 sum to at most `allowed`, in (0, 1]."""
    # Each c_k = v k / (k + 1) is at least v / 2, so twice the variance of one term suffices.
    return math.ceil(2 * rounding_variance(allowed / shares))


def _gap(variance: float) -> float:
    """Return g: the logarithm of the factor that a shift of the lattice can make."""
    first = math.exp(-_EXPONENT * variance)
    # Each further term of the sum is at most exp(-3 * 2 pi^2 variance) times the one before.
    error = 2 * first / (1 - first**3) if first < 1 else 1.0
    return 2 * math.atanh(error) if error < 1 else math.inf
