"""Elasticities by category from sums over customers, with standard errors including noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from securefl.tasks.demand.series import Floats

_OUT_OF_NOISE: Final = 3.0
"""Noise deviations that a category's information must reach for an estimate of its own."""

_LEAST_INFORMATION: Final = 1.0


@dataclass(frozen=True)
class SufficientStatistics:
    """Sums of the customers' sufficient statistics.

    Attributes:
        values: Score, information and scaled dispersion, float64 [2 K + 1]; see `bounded`.
        influence: Norm bound of a customer's statistics.
        reference: Elasticity at which they were computed.
        deviation: Standard deviation of the noise in each; 0 without noise.
    """

    values: Floats
    influence: float
    reference: float
    deviation: float = 0.0

    @property
    def score(self) -> Floats:
        """Float64 [K]."""
        return self.values[: len(self.values) // 2]

    @property
    def information(self) -> Floats:
        """Float64 [K]."""
        return self.values[len(self.values) // 2 : -1]

    @property
    def dispersion(self) -> float:
        """Variance of a score over its information, 1 for independent Poisson units.

        Customers buy several units at once; the mean square of their scores measures the
        overdispersion (quasi-likelihood; McCullagh and Nelder 1989, section 9.2).
        """
        squares = max(float(self.values[-1]) * 4 * self.influence, 0.0)
        total = float(self.information.sum())
        return squares / total if total > 0 and squares > 0 else 1.0


@dataclass(frozen=True)
class Elasticities:
    """Estimated elasticities by category.

    Attributes:
        value: Posterior means, float64 [K].
        error: Their standard errors, float64 [K].
        common: Mean over all categories.
        spread: Standard deviation of the categories about it.
        own: Mask of the categories with an estimate of their own, bool [K]; the others have the
            common value and its uncertainty.
    """

    value: Floats
    error: Floats
    common: float
    spread: float
    own: npt.NDArray[np.bool_]


def estimated(sums: SufficientStatistics) -> Elasticities:
    """Estimate elasticities, shrunk towards their common mean by their uncertainty.

    A category's estimate is r + g / h. Its variance has two parts: phi h / h^2 from the customers,
    and s^2 (1 + (g / h)^2) / h^2 from noise of deviation s in g and h (the delta method). Mean and
    spread of the categories follow by the method of moments (DerSimonian and Laird 1986), and each
    category is the mean of its own estimate and the common one, weighted by their precisions (Efron
    and Morris 1975). The error of the common mean is in the result.
    """
    least = max(_LEAST_INFORMATION, _OUT_OF_NOISE * sums.deviation)
    known = sums.information > least
    step = np.divide(sums.score, sums.information, out=np.zeros_like(sums.score), where=known)
    noise = sums.deviation**2 * (1 + step**2)
    variance = np.full(len(step), np.inf)
    information = sums.information[known]
    variance[known] = (sums.dispersion * information + noise[known]) / information**2
    common, doubt, spread = _moments(step[known], variance[known])
    weight = spread**2 / (spread**2 + variance)
    kept = np.where(known, step, 0.0)
    value = sums.reference + weight * kept + (1 - weight) * common
    own = np.where(known, weight * np.where(known, variance, 0.0), spread**2)
    error = np.sqrt(own + np.square(1 - weight) * doubt)
    return Elasticities(value, error, sums.reference + common, spread, known)


def _moments(step: Floats, variance: Floats) -> tuple[float, float, float]:
    """Return common mean, its variance, and the spread about it (DerSimonian and Laird 1986)."""
    if not len(step):
        return 0.0, 1.0, 1.0
    precision = 1 / variance
    mean = float((precision * step).sum() / precision.sum())
    excess = float((precision * np.square(step - mean)).sum()) - (len(step) - 1)
    scale = float(precision.sum() - np.square(precision).sum() / precision.sum())
    spread = np.sqrt(max(0.0, excess / scale)) if scale > 0 else 0.0
    weight = 1 / (variance + spread**2)
    common = float((weight * step).sum() / weight.sum())
    return common, float(1 / weight.sum()), float(spread)
