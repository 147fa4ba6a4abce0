"""The same guesses against a whole trade-off curve (Mahloujifar, Melis and Chaudhuri 2025).

One pair (epsilon, delta) says little of a mechanism. Its trade-off curve says all, and refutes
much earlier that the noise was as large as stated. What is refuted here is "the noise of every step
had s times the stated deviation", for the largest s that can be refuted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from securefl.audit.attacks.one_run import LARGEST, Guesses
from securefl.audit.attacks.trade_off import ComposedLoss, TradeOff
from securefl.privacy.accounting.events import SampledGaussian

_OCTAVE = 32
"""Rungs of the ladder of scales from one to its double."""
_MOST = 5 * _OCTAVE


@dataclass(frozen=True)
class NoiseBound:
    """What the guesses say of the noise.

    Attributes:
        epsilon: What the mechanism has at the stated delta with the largest noise that is left.
        scale: That noise over the stated noise; below 1, less was added than was stated.
    """

    epsilon: float
    scale: float


def refuted(guesses: Guesses, curve: TradeOff, level: float) -> bool:
    """Whether so many right guesses have a probability below `level` under the curve.

    Let p_i be the probability of i right guesses of c', m the canaries. Flipping one canary turns
    a right guess of it into a wrong one, so that for every i (Mahloujifar et al. 2025, from which
    the recursion is)

        sum over j >= i of j p_j / m  <=  g( sum over j >= i - 1 of (c' - j) p_j / m ).

    With P[right >= c] = level the sums are smallest if that mass lies at c itself and below it
    every p_j is as small as the inequality allows; if the masses then add up to more than 1, the
    level was too large.
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
    """How much noise there was at most, and the epsilon that follows.

    The epsilon is that of sampled Gaussian steps with less noise; it is a bound under the
    assumption that the mechanism is of that kind at all.

    Args:
        guesses: How well the auditor guessed.
        event: What was charged for everything that the auditor saw.
        delta: At which epsilon is stated.
        confidence: Of the refutation.
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
        gone = refuted(guesses, _loss(event, middle).curve, level)
        low, high = (low, middle) if gone else (middle, high)
    return NoiseBound(_loss(event, high).epsilon_at_least(delta), _scale(high))


def _scale(rung: int) -> float:
    """Scales are tried on a ladder, so that audits of one event share what they compute."""
    return float(2 ** (rung / _OCTAVE))


@lru_cache(maxsize=64)
def _loss(event: SampledGaussian, rung: int) -> ComposedLoss:
    return ComposedLoss.of(replace(event, noise_multiplier=_scale(rung) * event.noise_multiplier))
