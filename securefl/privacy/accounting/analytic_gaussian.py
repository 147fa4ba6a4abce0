"""Epsilon of the Gaussian mechanism without sampling, exact (Balle and Wang 2018, theorem 8).

The mechanism that adds N(0, sigma^2) to a sum of sensitivity 1 has, with mu = 1 / sigma,

    delta(epsilon) = Phi(mu / 2 - epsilon / mu) - exp(epsilon) Phi(-mu / 2 - epsilon / mu),

and no smaller delta holds. Several such mechanisms on the same data are together one of
mu^2 = mu_1^2 + mu_2^2 + ... (Dong, Roth and Su 2022, corollary 3.3), whatever order they came in
and even if each was chosen after the ones before.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import scipy  # which imports its parts when they are used

_ROUNDOFF = 2.0**-48
"""Relative error that is allowed to each logarithm: 16 units in the last place."""
_BISECTIONS = 60


def gaussian_epsilon(steps: Iterable[tuple[float, int]], delta: float) -> float:
    """Return the smallest epsilon at `delta`, rounded up in its ninth digit or later.

    Args:
        steps: Noise multiplier sigma > 0 and number of steps, of each kind of step.
        delta: In (0, 1).
    """
    mu = math.sqrt(math.fsum(count / sigma / sigma for sigma, count in steps)) * (1 + _ROUNDOFF)
    if not math.isfinite(mu):
        return math.inf
    target = math.log(delta)
    if mu == 0 or log_delta(0.0, mu) <= target:
        return 0.0
    # What concentrated DP gives (Bun and Steinke 2016, proposition 1.3) is never too small.
    high = mu * mu / 2 + mu * math.sqrt(-2 * target)
    while log_delta(high, mu) > target:
        high *= 2
    # Invariant: `high` was computed to be enough.
    low = 0.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if log_delta(middle, mu) <= target else (middle, high)
    return high


def log_delta(epsilon: float, mu: float) -> float:
    """Return an upper bound of ln delta(epsilon), which rounding errors only raise.

    Both terms can be far below the smallest float, and their difference small beside them: hence
    logarithms, and a ratio that is moved down by all that rounding may have raised it.
    """
    upper = float(scipy.special.log_ndtr(mu / 2 - epsilon / mu))
    lower = float(scipy.special.log_ndtr(-mu / 2 - epsilon / mu))
    slack = _ROUNDOFF * (epsilon + abs(upper) + abs(lower))
    # The second term over the first is below 1 for every epsilon >= 0.
    ratio = min(epsilon + lower - upper, 0.0) - slack
    if ratio == 0:  # beyond what floats can tell apart; the first term alone is an upper bound
        return upper
    return upper + slack + math.log(-math.expm1(ratio))
