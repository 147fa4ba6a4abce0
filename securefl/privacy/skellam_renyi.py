"""What Skellam noise costs: Renyi divergences of steps, sampled and composed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
from opacus.accountants.analysis import rdp as opacus_rdp

from securefl.privacy.renyi import renyi_epsilon
from securefl.privacy.sampled_renyi import ORDERS, sampled_divergences
from securefl.privacy.sensitivity import Sensitivity

if TYPE_CHECKING:
    from securefl.privacy.accounting import SampledGaussian

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SampledSkellam:
    """An event: the Skellam mechanism on a Poisson sample, `steps` times.

    Add-or-remove adjacency of one unit.

    Attributes:
        variance: Of the honest shares together, in squared integer units.
        sensitivity: What one unit changes.
        sampling_rate: q in (0, 1].
        steps: How many times.

    Raises:
        ValueError: If a value is out of range.
    """

    variance: int
    sensitivity: Sensitivity
    sampling_rate: float
    steps: int
    sampler: ClassVar[str] = "poisson"

    def __post_init__(self) -> None:
        if self.variance < 1 or self.steps < 0 or not 0 < self.sampling_rate <= 1:
            raise ValueError(f"no such event: {self}")

    @property
    def noise_multiplier(self) -> float:
        """Standard deviation of the noise over the Euclidean sensitivity; what people compare."""
        return math.sqrt(self.variance) / self.sensitivity.l2


def skellam_divergences(variance: float, sensitivity: Sensitivity) -> Vector:
    """Bounds on the Renyi divergence at each of `ORDERS`, without sampling.

    Agarwal, Kairouz and Liu 2021 (arXiv:2110.04995), for integer orders a > 1, with v the
    variance and D1, D2 the sensitivities:

        a D2^2 / (2 v) + min( ((2 a - 1) D2^2 + 6 D1) / (4 v^2), 3 D1 / (2 v) ).
    """
    order = np.array(ORDERS, dtype=np.float64)
    square, l1 = sensitivity.l2**2, sensitivity.l1
    fourth = ((2 * order - 1) * square + 6 * l1) / (4 * variance**2)
    return order * square / (2 * variance) + np.minimum(fourth, 3 * l1 / (2 * variance))


def skellam_epsilon(events: Sequence[SampledSkellam | SampledGaussian], delta: float) -> float:
    """Epsilon of the composition at `delta`, over integer orders.

    Converted by Balle et al. 2020, theorem 21.

    Raises:
        ValueError: If delta is not in (0, 1).
    """
    if not 0 < delta < 1:
        raise ValueError(f"delta is {delta}, not in (0, 1)")
    total = np.zeros(len(ORDERS))
    for event in events:
        total += event.steps * step_divergences(event)
    return renyi_epsilon(total.tolist(), delta, ORDERS) if total.any() else 0.0


def step_divergences(event: SampledSkellam | SampledGaussian) -> Vector:
    """Divergences of one step at each of `ORDERS`, its sampling included."""
    if isinstance(event, SampledSkellam):
        return _skellam_step(event.variance, event.sensitivity, event.sampling_rate)
    return _gaussian_step(event.noise_multiplier, event.sampling_rate)


@lru_cache(maxsize=256)
def _skellam_step(variance: int, sensitivity: Sensitivity, rate: float) -> Vector:
    return sampled_divergences(skellam_divergences(variance, sensitivity), rate)


@lru_cache(maxsize=256)
def _gaussian_step(sigma: float, rate: float) -> Vector:
    divergences = opacus_rdp.compute_rdp(
        q=rate, noise_multiplier=sigma, steps=1, orders=list(map(float, ORDERS))
    )
    return np.array(divergences, dtype=np.float64)
