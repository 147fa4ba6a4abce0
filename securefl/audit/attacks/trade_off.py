"""Trade-off curves of sampled Gaussian mechanisms, from the PRV composition of Opacus."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from opacus.accountants.analysis.prv import (
    Domain,
    PoissonSubsampledGaussianPRV,
    compose_heterogeneous,
)
from opacus.accountants.analysis.prv.prvs import DiscretePRV
from scipy.special import logsumexp
from scipy.stats import norm

from securefl.privacy.accounting.events import SampledGaussian

Vector = npt.NDArray[np.float64]

_EXCESS = 0.02
"""Largest error of a composed loss by rounding up."""
_DELTA_ERROR = 1e-8
"""Error of delta by truncating the loss, allowed for in either direction."""
_GRID = 300
"""Number of (epsilon, delta) pairs that a curve is made of."""
_FAR = 9.0
"""Integration range of the moments beyond the two means, in standard deviations."""
_POINTS = 4001
"""Number of integration points."""
_SLOPES = np.geomspace(0.05, 500.0, 80)
"""Exponents that the Chernoff bound is minimised over."""


@dataclass(frozen=True)
class ComposedLoss:
    """The discretised privacy loss of a composition (Gopi, Lee and Wutschitz 2021).

    Every step's loss is rounded up, so that composed losses are too large by at most `excess`.

    Attributes:
        losses: Grid points, float64 [n], ascending.
        masses: Probabilities of the grid points, float64 [n].
        excess: Upper bound of the rounding error.
    """

    losses: Vector
    masses: Vector
    excess: float

    @classmethod
    def of(cls, event: SampledGaussian) -> ComposedLoss:
        """Compose the loss of all steps of an event, dominating direction, epsilon >= 0."""
        spacing, reach = _EXCESS / event.steps, _reach(event)
        domain = Domain.create_aligned(-reach, reach, spacing)
        step = PoissonSubsampledGaussianPRV(event.sampling_rate, event.noise_multiplier)
        with np.errstate(all="ignore"):  # q = 1 has a loss with a bounded support
            below = step.cdf(np.append(domain.ts[0] - spacing, domain.ts))
        rounded = DiscretePRV(pmf=np.diff(below), domain=domain)
        composed = compose_heterogeneous(dprvs=[rounded], num_self_compositions=[event.steps])
        return cls(np.asarray(composed.domain.ts), np.asarray(composed.pmf), _EXCESS)

    @cached_property
    def _tails(self) -> tuple[Vector, Vector, Vector]:
        """Return the losses above 0, and their upper tail masses under both data sets."""
        above = self.losses > 0
        losses, masses = self.losses[above], self.masses[above]
        return losses, _tail_sums(masses), _tail_sums(masses * np.exp(-losses))

    def deltas(self, epsilons: Vector) -> Vector:
        """Return the estimates of delta at each epsilon >= 0, float64 [k]."""
        losses, with_unit, without = self._tails
        first = np.searchsorted(losses, epsilons, side="right")
        found: Vector = with_unit[first] - np.exp(epsilons) * without[first]
        return found.clip(0.0, 1.0)

    def epsilon_at_least(self, delta: float) -> float:
        """Return a lower bound of the mechanism's epsilon at `delta`."""

        def above(epsilon: float) -> bool:
            return float(self.deltas(np.array([epsilon]))[0]) > delta + _DELTA_ERROR

        low, high = 0.0, float(self.losses[-1])
        while high - low > _EXCESS / 10:
            middle = (low + high) / 2
            low, high = (middle, high) if above(middle) else (low, middle)
        return max(0.0, low - self.excess)

    @cached_property
    def curve(self) -> TradeOff:
        """Return a trade-off curve that bounds the mechanism's from below."""
        largest = max(_EXCESS, self.epsilon_at_least(_DELTA_ERROR))
        epsilons = np.linspace(0.0, largest, _GRID)
        deltas = self.deltas(epsilons) + _DELTA_ERROR
        return TradeOff.of(epsilons, deltas.clip(0.0, 1.0))


@dataclass(frozen=True)
class TradeOff:
    """The trade-off curve of a mechanism that is (epsilon_j, delta_j)-DP for every j.

    An event of probability x under one data set has at most probability
    g(x) = min_j min(delta_j + e^eps_j x, 1 - e^-eps_j (1 - delta_j - x)) under a neighbouring one
    (Dong, Roth and Su 2022: a mechanism is private for all these pairs if and only if its trade-off
    curve is nowhere below 1 - g). The inverse of g is the maximum of the inverted lines.

    Attributes:
        slopes: Slopes of the inverted lines, float64 [2 n].
        offsets: Intercepts of the inverted lines, float64 [2 n].
    """

    slopes: Vector
    offsets: Vector

    @classmethod
    def of(cls, epsilons: Vector, deltas: Vector) -> TradeOff:
        """Return the curve of the pairs (epsilon_j >= 0, delta_j), float64 [n] each."""
        shrink, grow = np.exp(-epsilons), np.exp(epsilons)
        offsets = np.concatenate([-shrink * deltas, 1 - deltas - grow])
        return cls(np.concatenate([shrink, grow]), offsets)

    def least(self, probability: float) -> float:
        """Return the least probability under a neighbour of an event with `probability`."""
        return min(1.0, max(0.0, float((self.slopes * probability + self.offsets).max())))


def _tail_sums(masses: Vector) -> Vector:
    """Return the sums from each entry to the last, followed by 0, float64 [n + 1]."""
    sums: Vector = np.append(np.cumsum(masses[::-1])[::-1], 0.0)
    return sums


def _reach(event: SampledGaussian) -> float:
    """Return a bound that the absolute composed loss exceeds with probability at most 10^-8.

    It is a Chernoff bound, with moments integrated numerically over the output of one step.
    """
    sigma, rate = event.noise_multiplier, event.sampling_rate
    output = np.linspace(-_FAR * sigma, 1 + _FAR * sigma, _POINTS)
    with np.errstate(divide="ignore"):  # q = 1
        tilt = np.log(rate) + (output - 0.5) / sigma**2
        loss = np.logaddexp(np.log1p(-rate), tilt)
    weights = norm.logpdf(output, scale=sigma) + loss + np.log(output[1] - output[0])
    ends = []
    for side in (loss, -loss):
        moments = logsumexp(_SLOPES[:, None] * side + weights, axis=1)
        ends.append(((event.steps * moments - np.log(_DELTA_ERROR)) / _SLOPES).min())
    return float(max(*ends, 1.0))
