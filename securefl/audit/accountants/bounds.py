"""Bounds of epsilon from both sides, for records that the second accountant's figure exceeds.

One figure cannot judge a record. It may be too high where a grid is coarse or a distribution out
of reach, and an honest record would then count as a lie. So a record passes only if it is not below
a proved upper bound, and fails only if it is below a proved lower bound. Between the two, nobody
knows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from scipy.special import log_ndtr

from securefl.audit.accountants.skellam_rdp import AnyStep, SkellamStep, Step, renyi_epsilon
from securefl.privacy.accounting.pld import FINE, Composition

Comparison = Literal["within", "above", "unknown"]

_ABSOLUTE, _RELATIVE = 1e-3, 1e-3
_FINER = 8
"""How much finer the grid is than that of the figure."""
_BISECTIONS = 200


def tolerance(epsilon: float) -> float:
    """Return how far the recomputed epsilon may exceed a recorded one: 0.001 + 0.1 %."""
    return _ABSOLUTE + _RELATIVE * epsilon


def exceeded(epsilon: float, bound: float) -> bool:
    """Return whether an epsilon exceeds a bound by more than the tolerance."""
    return epsilon > bound + tolerance(bound)


def compare(steps: Mapping[AnyStep, int], delta: float, bound: float) -> Comparison:
    """Return whether epsilon of a composition is provably within a bound, or above it.

    A fine grid takes seconds, and most records are far from the bound: the coarse one comes first.
    """
    for points in (FINE, _FINER * FINE):
        if exceeded(at_least(steps, delta, points), bound):
            return "above"
        if not exceeded(at_most(steps, delta, points), bound):
            return "within"
    return "unknown"


def at_most(steps: Mapping[AnyStep, int], delta: float, points: int = FINE) -> float:
    """Return a proved upper bound of epsilon; infinite where there is none.

    Full batches are one Gaussian, whose epsilon is exact. Besides, the smaller of a privacy loss
    distribution, rounded up, and the Renyi bound.

    Args:
        steps: Number of steps by kind.
        delta: In (0, 1).
        points: Grid points of a distribution.
    """
    gaussian = _gaussian(steps)
    if gaussian is None:
        return renyi_epsilon(steps, delta)
    if all(rate == 1 for _, rate in gaussian):
        return _full_batches(gaussian, delta)[1]
    found = _distribution(gaussian, delta, points, upper=True)
    return min(renyi_epsilon(gaussian, delta), found)


def at_least(steps: Mapping[AnyStep, int], delta: float, points: int = FINE) -> float:
    """Return a proved lower bound of epsilon.

    No composition costs less than a part of it, and for single steps and full batches epsilon is
    exact. Besides, a privacy loss distribution, rounded down. With Skellam noise it is the bound of
    the paper at the agreed orders: no accountant of such records gives less.

    Args:
        steps: Number of steps by kind.
        delta: In (0, 1).
        points: Grid points of a distribution.
    """
    gaussian = _gaussian(steps)
    if gaussian is None:
        bound = renyi_epsilon(steps, delta)
        # Where the orders overflow, a record may rest on terms that this sum has lost.
        return bound if math.isfinite(bound) else 0.0
    parts = [_one_step(*kind, delta) for kind, count in gaussian.items() if count]
    parts.append(_full_batches(gaussian, delta)[0])
    if any(rate < 1 for _, rate in gaussian) and math.isfinite(max(parts)):
        parts.append(_distribution(gaussian, delta, points, upper=False))
    return max(parts)


def _gaussian(steps: Mapping[AnyStep, int]) -> dict[Step, int] | None:
    """Return the steps if all have Gaussian noise."""
    found = {step: n for step, n in steps.items() if not isinstance(step, SkellamStep)}
    return found if len(found) == len(steps) else None


def _one_step(sigma: float, rate: float, delta: float) -> float:
    """Return epsilon of one sampled step: Li, Qardaji and Su 2012, exact for removing a unit.

    delta_q(log(1 + q (e^x - 1))) = q delta(x), so that x is the epsilon at delta / q.
    """
    if delta >= rate:
        return 0.0
    whole = gaussian_epsilon(math.inf if sigma == 0 else 1 / sigma, delta / rate)[0]
    grown = whole + math.log(rate)
    return grown if whole > 600 else max(0.0, math.log1p(rate * math.expm1(whole)))


def _full_batches(steps: Mapping[Step, int], delta: float) -> tuple[float, float]:
    """Return epsilon of the steps without sampling, from both sides."""
    counted = [(sigma, count) for (sigma, rate), count in steps.items() if rate == 1 and count]
    if any(sigma == 0 for sigma, _ in counted):
        return math.inf, math.inf
    return gaussian_epsilon(
        math.sqrt(math.fsum(count / sigma / sigma for sigma, count in counted)), delta
    )


def gaussian_epsilon(mu: float, delta: float) -> tuple[float, float]:
    """Return bounds of epsilon of mu-Gaussian differential privacy, the lower one first.

    Bisection on Balle and Wang 2018, theorem 8, in logarithms; delta falls as epsilon grows.

    Args:
        mu: At least 0; 1 over the noise multiplier.
        delta: In (0, 1).
    """
    if not math.isfinite(mu) or mu * mu > 1e300:
        return math.inf, math.inf
    if mu == 0:
        return 0.0, 0.0
    # What concentrated differential privacy gives (Bun and Steinke 2016, proposition 1.3).
    low, high = 0.0, mu * mu / 2 + mu * math.sqrt(-2 * math.log(delta))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _log_delta(middle, mu) > math.log(delta) else (low, middle)
    return low * (1 - 1e-9), high * (1 + 1e-9)


def _log_delta(epsilon: float, mu: float) -> float:
    upper = float(log_ndtr(mu / 2 - epsilon / mu))
    ratio = epsilon + float(log_ndtr(-mu / 2 - epsilon / mu)) - upper
    return upper + math.log(-math.expm1(ratio)) if ratio < 0 else -math.inf


def _distribution(steps: Mapping[Step, int], delta: float, points: int, *, upper: bool) -> float:
    """Return a bound by privacy loss distributions; none where they are out of reach.

    Several kinds of steps have a coarser grid: all of them are kept at once.
    """
    points = max(FINE, points // len(steps))
    try:
        found = Composition(steps, points, upper=upper).epsilon(steps, delta)
    except (ValueError, ArithmeticError, RuntimeError, ModuleNotFoundError):
        return math.inf if upper else 0.0
    return found if upper or math.isfinite(found) else 0.0
