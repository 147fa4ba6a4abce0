"""What the batches and the noise of several rounds say: drawn as accounted for, and anew each time.

Amplification by sampling is proved for units that are in a batch independently of each other.
Shuffled or fixed-size batches have the same mean and less variance. Noise that is used twice says
nothing new, and cancels in the difference of two releases.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2, pearsonr

from securefl.audit.attacks.probe import CanaryTraining, Mask

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Correlation:
    """The most correlated pair of rounds.

    Attributes:
        correlation: Of their releases in the places of absent canaries, where only noise is.
        p_value: Times the number of pairs.
        pairs: Number of pairs.
    """

    correlation: float
    p_value: float
    pairs: int


def between_rounds(by_round: Vector, included: Mask) -> Correlation | None:
    """Compare the noise of every two rounds; None for a single round.

    Args:
        by_round: Change of each canary's coordinate in each round, float64 [rounds, m].
        included: Which canaries were in, bool [m].
    """
    noise = by_round[:, ~included]
    found = [pearsonr(one, other) for one, other in combinations(noise, 2)]
    if not found:
        return None
    least = min(found, key=lambda pair: float(pair.pvalue))
    p_value = min(1.0, len(found) * float(least.pvalue))
    return Correlation(float(least.statistic), p_value, len(found))


@dataclass(frozen=True)
class Participation:
    """How often units were in batches, compared with Poisson samples.

    Attributes:
        rate: Share of all possible participations that took place.
        of_units: Variance of the units' counts over that of independent draws.
        of_batches: Variance of the rounds' counts over that of independent draws.
        p_value: Smaller tail probability of either, times the number of tails.
    """

    rate: float
    of_units: float
    of_batches: float
    p_value: float


def participation(probed: CanaryTraining, rate: float, steps: int) -> Participation | None:
    """Compare participations with independent draws of a rate; None where every unit is in all.

    Both variances are compared with the chi-square distribution that independent draws would give
    them, and with its two tails: batches that vary too little are as wrong as those that vary too
    much.

    Args:
        probed: The observed training.
        rate: Sampling rate q that is accounted for.
        steps: Steps of a round.
    """
    if rate == 1:
        full = all(
            (np.bincount(drawn, minlength=probed.units) == steps).all() for drawn in probed.drawn
        )
        return None if full else Participation(float("nan"), 0.0, 0.0, 0.0)
    rounds, units = len(probed.drawn), probed.units
    counts = np.bincount(np.concatenate(probed.drawn), minlength=units)
    sizes = np.array([len(drawn) for drawn in probed.drawn])
    one = steps * rate * (1 - rate)
    by_unit = float(((counts - rounds * steps * rate) ** 2).sum()) / (rounds * one)
    by_round = float(((sizes - units * steps * rate) ** 2).sum()) / (units * one)
    tails = [
        tail(value, freedom)
        for value, freedom in ((by_unit, units), (by_round, rounds))
        for tail in (chi2.cdf, chi2.sf)
    ]
    return Participation(
        float(sizes.sum()) / (units * rounds * steps),
        by_unit / units,
        by_round / rounds,
        min(1.0, len(tails) * float(min(tails))),
    )
