"""ROC statistics of attack scores, with confidence intervals and epsilon lower bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, norm, rankdata

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """An estimate with its confidence interval.

    Attributes:
        value: Point estimate.
        low: Lower limit.
        high: Upper limit.
    """

    value: float
    low: float
    high: float


def area(inside: Scores, outside: Scores, confidence: float) -> Estimate:
    """Return the area under the ROC curve; variance by DeLong, DeLong and Clarke-Pearson 1988.

    It is the probability that a random score of `inside` exceeds a random score of `outside`, with
    ties counted half; 0.5 is chance.

    Raises:
        ValueError: If a group has fewer than two scores.
    """
    if min(len(inside), len(outside)) < 2:
        raise ValueError("an area needs two scores in each group")
    ranks = rankdata(np.concatenate([inside, outside]))
    placed_inside = (ranks[: len(inside)] - rankdata(inside)) / len(outside)
    placed_outside = 1 - (ranks[len(inside) :] - rankdata(outside)) / len(inside)
    value = float(placed_inside.mean())
    variance = placed_inside.var(ddof=1) / len(inside) + placed_outside.var(ddof=1) / len(outside)
    reach = float(norm.isf((1 - confidence) / 2)) * math.sqrt(variance)
    return Estimate(value, max(0.0, value - reach), min(1.0, value + reach))


def share(successes: int, trials: int, confidence: float) -> Estimate:
    """Return a probability with its two-sided Clopper-Pearson interval (Clopper, Pearson 1934)."""
    tail = (1 - confidence) / 2
    low = beta.ppf(tail, successes, trials - successes + 1) if successes else 0.0
    high = beta.isf(tail, successes + 1, trials - successes) if successes < trials else 1.0
    return Estimate(successes / trials if trials else math.nan, float(low), float(high))


def hits_at(inside: Scores, outside: Scores, rate: float, confidence: float) -> Estimate:
    """Return the true positive rate at a false positive rate of at most `rate`."""
    allowed = int(rate * len(outside))
    threshold = np.sort(outside)[len(outside) - allowed - 1]
    return share(int((inside > threshold).sum()), len(inside), confidence)


def epsilon_at_least(
    inside: Scores, outside: Scores, delta: float, confidence: float, seed: int
) -> float:
    """Return a lower bound of epsilon from true and false positive rates of a threshold.

    Under (epsilon, delta)-privacy TPR <= e^epsilon FPR + delta, and the same with "in" and "out"
    exchanged (Kairouz, Oh and Viswanath 2015). Threshold and direction are chosen on one half of
    the scores and tested on the other, with Clopper-Pearson bounds that hold jointly at
    `confidence`. The bounds assume independent scores, which holds only approximately for scores
    from one training.
    """
    rng = np.random.default_rng(seed)
    inside, outside = rng.permutation(inside), rng.permutation(outside)
    # Choosing and testing on the same scores would select for noise and overstate the bound.
    chosen, tried = (inside[::2], outside[::2]), (inside[1::2], outside[1::2])
    best = (-math.inf, 1.0, 0.0)
    for sign in (1.0, -1.0):
        thresholds = np.unique(np.concatenate(chosen))
        bounds = _bounds(chosen, sign, thresholds, delta, confidence)
        found = int(bounds.argmax())
        best = max(best, (float(bounds[found]), sign, float(thresholds[found])))
    _, sign, threshold = best
    tested = _bounds(tried, sign, np.array([threshold]), delta, confidence)
    return max(0.0, float(tested[0]))


def _bounds(
    groups: tuple[Scores, Scores],
    sign: float,
    thresholds: Scores,
    delta: float,
    confidence: float,
) -> Scores:
    """Return the epsilon bound of each threshold; scores above it mean in (sign 1) or out (-1)."""
    positive, negative = groups if sign > 0 else (-groups[1], -groups[0])
    cuts = sign * thresholds
    hits = len(positive) - np.searchsorted(np.sort(positive), cuts, side="right")
    alarms = len(negative) - np.searchsorted(np.sort(negative), cuts, side="right")
    tail = (1 - confidence) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        hit = np.nan_to_num(beta.ppf(tail, hits, len(positive) - hits + 1))
        alarm = np.nan_to_num(beta.isf(tail, alarms + 1, len(negative) - alarms), nan=1.0)
        bounds: Scores = np.log((hit - delta).clip(1e-300) / alarm)
    return bounds
