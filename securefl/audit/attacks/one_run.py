"""One-run privacy auditing with many canaries (Steinke, Nasr and Jagielski 2023).

Every canary is included independently with probability 1/2. From the releases, the auditor guesses
the inclusion of some canaries and abstains on the others. Under (epsilon, delta)-differential
privacy too many correct guesses are improbable, also where canaries influence each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

LARGEST = 30.0
"""Upper end of the search for a lower bound; meaningful claims are far smaller."""
_STEPS = 40


@dataclass(frozen=True)
class Guesses:
    """Result of an auditor's guesses.

    Attributes:
        canaries: m, the number of canaries.
        made: r, the number of guesses; the auditor abstained on the others.
        right: v, the number of correct guesses.
    """

    canaries: int
    made: int
    right: int


def guess(scores: npt.NDArray[np.float64], included: npt.NDArray[np.bool_], made: int) -> Guesses:
    """Guess "in" for the highest scores and "out" for the lowest, half of `made` each.

    Args:
        scores: Membership scores, float64 [m].
        included: Ground truth, bool [m].
        made: Number of guesses, fixed before the scores are known; an odd one is rounded down.
    """
    half = made // 2
    order = np.argsort(scores, kind="stable")
    right = included[order[len(order) - half :]].sum() + (~included[order[:half]]).sum()
    return Guesses(len(scores), 2 * half, int(right))


def p_value(guesses: Guesses, epsilon: float, delta: float) -> float:
    """Bound the probability of as many correct guesses under (epsilon, delta)-DP from above.

    With q = e^epsilon / (1 + e^epsilon) and B ~ Binomial(r, q) it is at most
    P[B >= v] + 2 m delta max over i of P[v > B >= v - i] / i (Steinke et al. 2023, the theorem for
    approximate privacy and its code in the appendix).
    """
    made, right = guesses.made, guesses.right
    accuracy = 1 / (1 + math.exp(-epsilon))
    chance = float(binom.sf(right - 1, made, accuracy))
    below = np.arange(1, right + 1)
    if not right:
        return 1.0
    window = np.cumsum(binom.pmf(right - below, made, accuracy))
    worst = float((window / below).max())
    return min(1.0, chance + 2 * guesses.canaries * delta * worst)


def lower_bound(guesses: Guesses, delta: float, confidence: float) -> float:
    """Return the largest epsilon refuted at a confidence level; 0 if none is refuted."""
    level = 1 - confidence
    if p_value(guesses, 0.0, delta) > level:
        return 0.0
    low, high = 0.0, LARGEST
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(guesses, middle, delta) <= level else (low, middle)
    return low
