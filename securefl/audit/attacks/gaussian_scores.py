"""One-run auditing with scores as numbers, for full batches ("Let's Ask Gauss", 2026).

Guesses keep the sign of a score and forget its size. At sampling rate 1 a canary's score is its
gradient, summed over the steps, plus Gaussian noise: the scores of canaries that were in and of
those that were not are two Gaussians of one deviation. Their distance in deviations estimates mu of
Gaussian differential privacy (Dong, Roth and Su 2022), which determines every epsilon.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr, ndtr

from securefl.audit.attacks.one_run import LARGEST
from securefl.privacy.accounting.events import SampledGaussian

SURE = 0.999
"""Confidence at which the stated noise itself is refuted; a sound run fails once in a thousand."""
_SMALLEST = 1e-3
"""Smallest mu that is priced; below it nothing was proved."""
_LARGEST_MU = 1e6
"""Scores without any noise."""
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class GaussianEstimate:
    """The distance of canaries that were in from those that were not.

    Attributes:
        mu: Estimate of mu, in deviations of the noise.
        error: Its standard error.
        stated: mu of the stated noise: sqrt(steps) / sigma.
    """

    mu: float
    error: float
    stated: float

    def at_least(self, confidence: float) -> float:
        """Return a lower bound of mu that holds with a confidence."""
        return self.mu - NormalDist().inv_cdf(confidence) * self.error

    def noise_scale(self, confidence: float) -> float:
        """Return an upper bound of the noise that was added, in multiples of the stated noise."""
        least = self.at_least(confidence)
        return math.inf if least <= _SMALLEST else self.stated / least

    def epsilon(self, delta: float, confidence: float) -> float:
        """Return a lower bound of epsilon at `delta`."""
        least = self.at_least(confidence)
        return 0.0 if least <= _SMALLEST else gaussian_epsilon(least, delta)


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return epsilon at `delta` of mu-Gaussian differential privacy, up to `LARGEST`.

    Bisection on Dong, Roth and Su 2022, corollary 2.13: delta falls as epsilon grows.
    """
    low, high = 0.0, LARGEST
    while high - low > _TOLERANCE:
        middle = (low + high) / 2
        above = ndtr(-middle / mu + mu / 2) - math.exp(middle + log_ndtr(-middle / mu - mu / 2))
        low, high = (middle, high) if above > delta else (low, middle)
    return low


def estimate(
    scores: npt.NDArray[np.float64], included: npt.NDArray[np.bool_], event: SampledGaussian
) -> GaussianEstimate:
    """Return the estimate from the canaries' scores.

    The standard error is that of a standardised difference of means (Hedges and Olkin 1985,
    section 5.E), whose last term is the error of the deviation.

    Args:
        scores: Float64 [m].
        included: Which canaries were in, bool [m].
        event: The stated steps, at sampling rate 1.

    Raises:
        ValueError: If batches were sampled: the scores are then no Gaussians.
    """
    if event.sampling_rate != 1:
        raise ValueError("scores are Gaussian for full batches only")
    inside, outside = scores[included], scores[~included]
    spread = (inside.size - 1) * inside.var(ddof=1) + (outside.size - 1) * outside.var(ddof=1)
    deviation = math.sqrt(spread / (scores.size - 2))
    mu = min(float(inside.mean() - outside.mean()) / max(deviation, 1e-300), _LARGEST_MU)
    error = math.sqrt(1 / inside.size + 1 / outside.size + mu**2 / (2 * scores.size))
    stated = math.sqrt(event.steps) / event.noise_multiplier
    return GaussianEstimate(mu, error, stated)
