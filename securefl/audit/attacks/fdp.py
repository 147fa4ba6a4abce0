"""One-run auditing against a trade-off curve, f-DP (Mahloujifar, Melis and Chaudhuri 2025).

A single pair (epsilon, delta) describes a mechanism incompletely. The test against its whole
trade-off curve has more power. The tested hypothesis is "the noise of every step had s times the
stated standard deviation", and the result is the largest s that is refuted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from securefl.audit.attacks.one_run import LARGEST, Guesses
from securefl.audit.attacks.trade_off import ComposedLoss, TradeOff
from securefl.privacy.accounting.events import SampledGaussian

_OCTAVE = 32
"""Number of tested scales per factor of 2."""
_MOST = 5 * _OCTAVE
"""Largest tested step: 2^5 times the stated noise."""


@dataclass(frozen=True)
class NoiseBound:
    """Bound of the noise that follows from the guesses.

    Attributes:
        epsilon: Epsilon at the stated delta with the largest noise that is not refuted.
        scale: That noise relative to the stated noise; below 1, less was added than stated.
    """

    epsilon: float
    scale: float


def refuted(guesses: Guesses, curve: TradeOff, level: float) -> bool:
    """Return whether as many correct guesses have a probability below `level` under the curve.

    Let p_i be the probability of i correct guesses out of c', and m the number of canaries.
    Flipping one canary turns a correct guess of it into a wrong one, so that for every i
    (Mahloujifar et al. 2025, source of the recursion)

        sum over j >= i of j p_j / m  <=  g( sum over j >= i - 1 of (c' - j) p_j / m ).

    With P[correct >= c] = level, the sums are smallest if that mass lies at c itself and every p_j
    below it is as small as the inequality allows. If the masses then exceed 1, the level is too
    large, and the hypothesis is refuted.
    """
    made, canaries = guesses.made, guesses.canaries
    total = made / canaries
    right = level * guesses.right / canaries
    wrong = level * (made - guesses.right) / canaries
    for number in range(guesses.right - 1, -1, -1):
        needed = max(wrong, curve.least(right))
        right += number / (made - number) * (needed - wrong)
        wrong = needed
        if right + wrong > total:
            return True
    return False


def lower_bound(
    guesses: Guesses, event: SampledGaussian, delta: float, confidence: float
) -> NoiseBound:
    """Return an upper bound of the noise, and the epsilon that follows.

    The epsilon is that of sampled Gaussian steps with less noise, so it is a bound under the
    assumption that the mechanism is a sampled Gaussian.

    Args:
        guesses: Result of the auditor's guesses.
        event: The charged event for all observed releases.
        delta: Delta of the claim.
        confidence: Confidence level of the refutation.
    """
    low, high = 0, _MOST
    while _loss(event, low).epsilon_at_least(delta) < LARGEST:
        low -= _OCTAVE
    level = 1 - confidence
    if refuted(guesses, _loss(event, low).curve, level):
        return NoiseBound(LARGEST, _scale(low))
    if not refuted(guesses, _loss(event, high).curve, level):
        return NoiseBound(0.0, math.inf)
    while high - low > 1:
        middle = (low + high) // 2
        rejected = refuted(guesses, _loss(event, middle).curve, level)
        low, high = (low, middle) if rejected else (middle, high)
    return NoiseBound(_loss(event, high).epsilon_at_least(delta), _scale(high))


def _scale(step: int) -> float:
    """Return the scale of a step; discrete scales let audits of one event share cached curves."""
    return float(2 ** (step / _OCTAVE))


@lru_cache(maxsize=64)
def _loss(event: SampledGaussian, step: int) -> ComposedLoss:
    return ComposedLoss.of(replace(event, noise_multiplier=_scale(step) * event.noise_multiplier))
