"""The trade-off curve of sampled Gaussian steps, from the privacy loss that Opacus composes."""

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
_DELTA_ERROR = 1e-8
_GRID = 300
_FAR = 9.0
_POINTS = 4001
_SLOPES = np.geomspace(0.05, 500.0, 80)


@dataclass(frozen=True)
class ComposedLoss:
    """The privacy loss of a composition on a grid (Gopi, Lee and Wutschitz 2021).

    Every step's loss is rounded up, so that the losses are too large by `excess` at the most.

    Attributes:
        losses: Points of the grid, float64 [n], ascending.
        masses: Their probabilities, float64 [n].
        excess: What rounding may have added.
    """

    losses: Vector
    masses: Vector
    excess: float

    @classmethod
    def of(cls, event: SampledGaussian) -> ComposedLoss:
        """The loss of all steps of an event, for the direction that decides at epsilon >= 0."""
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
        """Losses above 0, and the masses from each on under either of the two data sets."""
        above = self.losses > 0
        losses, masses = self.losses[above], self.masses[above]
        return losses, _from_the_end(masses), _from_the_end(masses * np.exp(-losses))

    def deltas(self, epsilons: Vector) -> Vector:
        """The estimates of delta at each epsilon >= 0."""
        losses, with_unit, without = self._tails
        first = np.searchsorted(losses, epsilons, side="right")
        found: Vector = with_unit[first] - np.exp(epsilons) * without[first]
        return found.clip(0.0, 1.0)

    def epsilon_at_least(self, delta: float) -> float:
        """A lower bound of the epsilon that the mechanism has at `delta`."""

        def above(epsilon: float) -> bool:
            return float(self.deltas(np.array([epsilon]))[0]) > delta + _DELTA_ERROR

        low, high = 0.0, float(self.losses[-1])
        while high - low > _EXCESS / 10:
            middle = (low + high) / 2
            low, high = (middle, high) if above(middle) else (low, middle)
        return max(0.0, low - self.excess)

    @cached_property
    def curve(self) -> TradeOff:
        """A trade-off curve that the mechanism keeps above."""
        largest = max(_EXCESS, self.epsilon_at_least(_DELTA_ERROR))
        epsilons = np.linspace(0.0, largest, _GRID)
        deltas = self.deltas(epsilons) + _DELTA_ERROR
        return TradeOff.of(epsilons, deltas.clip(0.0, 1.0))


@dataclass(frozen=True)
class TradeOff:
    """A mechanism that is (epsilon_j, delta_j)-private for every j, in both directions.

    An event that has probability x on one side has at most g(x) = min_j min(delta_j + e^eps_j x,
    1 - e^-eps_j (1 - delta_j - x)) on the other (Dong, Roth and Su 2022: a mechanism is private for
    all these pairs just if its trade-off curve is nowhere below 1 - g). The inverse of g is the
    largest of the inverted lines.

    Attributes:
        slopes: Of the inverted lines, float64 [2 n].
        offsets: Where they meet the axis, float64 [2 n].
    """

    slopes: Vector
    offsets: Vector

    @classmethod
    def of(cls, epsilons: Vector, deltas: Vector) -> TradeOff:
        """The curve of the pairs (epsilon_j >= 0, delta_j), float64 [n] each."""
        shrink, grow = np.exp(-epsilons), np.exp(epsilons)
        offsets = np.concatenate([-shrink * deltas, 1 - deltas - grow])
        return cls(np.concatenate([shrink, grow]), offsets)

    def least(self, probability: float) -> float:
        """How probable an event of `probability` is on the other side, at least."""
        return min(1.0, max(0.0, float((self.slopes * probability + self.offsets).max())))


def _from_the_end(masses: Vector) -> Vector:
    """Sums from each entry to the last, and 0 behind it, float64 [n + 1]."""
    sums: Vector = np.append(np.cumsum(masses[::-1])[::-1], 0.0)
    return sums


def _reach(event: SampledGaussian) -> float:
    """What the composed loss exceeds in absolute value with probability 10^-8 at most (Chernoff).

    The moments are sums over a fine grid of the output of one step.
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
