"""How well scores tell two groups apart, with confidence intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, norm, rankdata

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A figure with its confidence interval.

    Attributes:
        value: The estimate.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float


def area(inside: Scores, outside: Scores, confidence: float) -> Estimate:
    """The area under the ROC curve, its variance by DeLong, DeLong and Clarke-Pearson 1988.

    It is the probability that a random score of `inside` is above a random one of `outside`, ties
    counting half; 0.5 is chance.

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
    """A probability from independent trials (Clopper and Pearson 1934), ends at half the level."""
    tail = (1 - confidence) / 2
    low = beta.ppf(tail, successes, trials - successes + 1) if successes else 0.0
    high = beta.isf(tail, successes + 1, trials - successes) if successes < trials else 1.0
    return Estimate(successes / trials if trials else math.nan, float(low), float(high))


def hits_at(inside: Scores, outside: Scores, rate: float, confidence: float) -> Estimate:
    """The share of `inside` above a threshold that at most a share `rate` of `outside` exceeds."""
    allowed = int(rate * len(outside))
    threshold = np.sort(outside)[len(outside) - allowed - 1]
    return share(int((inside > threshold).sum()), len(inside), confidence)


def epsilon_at_least(
    inside: Scores, outside: Scores, delta: float, confidence: float, seed: int
) -> float:
    """A lower bound of epsilon from hits and false alarms of a threshold.

    Under (epsilon, delta)-privacy P[hit] <= e^epsilon P[false alarm] + delta, and the same with
    "in" and "out" exchanged (Kairouz, Oh and Viswanath 2015). The threshold and the
    direction are chosen on one half of the scores and tried on the other, where both
    probabilities have Clopper-Pearson bounds that hold together at `confidence`. They take the
    scores for independent, which those of one training are only nearly.
    """
    rng = np.random.default_rng(seed)
    inside, outside = rng.permutation(inside), rng.permutation(outside)
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
    """What each threshold proves; with sign 1 those above it are called in, with -1 out."""
    guilty, innocent = groups if sign > 0 else (-groups[1], -groups[0])
    cuts = sign * thresholds
    hits = len(guilty) - np.searchsorted(np.sort(guilty), cuts, side="right")
    alarms = len(innocent) - np.searchsorted(np.sort(innocent), cuts, side="right")
    tail = (1 - confidence) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        hit = np.nan_to_num(beta.ppf(tail, hits, len(guilty) - hits + 1))
        alarm = np.nan_to_num(beta.isf(tail, alarms + 1, len(innocent) - alarms), nan=1.0)
        bounds: Scores = np.log((hit - delta).clip(1e-300) / alarm)
    return bounds
