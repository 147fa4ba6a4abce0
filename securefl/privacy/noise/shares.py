"""Integer noise shares: how much noise each member adds before masking, given a budget.

At least m = t - n_C honest members are in every sum that the protocol releases: t survive and n_C
of them may collude. Each adds a share of variance sigma^2 / m, so that the noise of the honest ones
alone is what the accountant assumed, whichever members drop out or collude. What the others add is
more than required; it costs accuracy and no privacy.

Two distributions. A sum of discrete Gaussian shares costs what a Gaussian costs, by any accountant
(`discrete_gaussian_bound`), and is charged as one. A sum of Skellam shares is Skellam, and is
accounted for by Renyi divergences at integer orders.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from securefl.errors import ConfigError
from securefl.privacy.accounting.accountant import DEFAULT, AccountantName
from securefl.privacy.accounting.calibration import Budget, noise_multiplier
from securefl.privacy.accounting.discrete_gaussian_bound import (
    least_share_variance,
    log_factor,
    rounding_variance,
)
from securefl.privacy.accounting.events import PrivacyEvent, SampledGaussian, SampledSkellam
from securefl.privacy.accounting.sensitivity import Sensitivity
from securefl.privacy.accounting.skellam_rdp import skellam_epsilon
from securefl_protocols.noise.discrete_gaussian import (
    DISTANCE_BITS,
    LARGEST_VARIANCE,
    DiscreteGaussian,
)
from securefl_protocols.noise.skellam import Skellam

IntegerLaw = Literal["discrete-gaussian", "skellam"]

_RESERVE = 1e-6
"""Part of epsilon and delta for the samplers' distance from their laws and the bound's factor."""

_RELATIVE = 1e-4
"""Relative width at which the bisection of Skellam's variance stops."""


@dataclass(frozen=True)
class NoisePlan:
    """The noise of one run, from public constants only.

    Attributes:
        law: The distribution of the shares.
        share_variance: Of each member's share, in squared integer units.
        honest: m, the number of honest shares in every sum.
        sensitivity: Largest change of the sum by one unit, in integer units.
        event: All steps, as they are charged.
    """

    law: IntegerLaw
    share_variance: int
    honest: int
    sensitivity: Sensitivity
    event: SampledGaussian | SampledSkellam

    @property
    def share_deviation(self) -> float:
        """Standard deviation of one share, in integer units."""
        return math.sqrt(self.share_variance)

    @property
    def deviation(self) -> float:
        """Standard deviation of the honest shares together, in integer units."""
        return math.sqrt(self.honest * self.share_variance)

    def summed_deviation(self, survivors: int) -> float:
        """Return the standard deviation of the noise in a sum of `survivors`, in integer units."""
        return math.sqrt(survivors * self.share_variance)

    def sampler(self) -> DiscreteGaussian | Skellam:
        """Return the sampler of a member's share."""
        law = DiscreteGaussian if self.law == "discrete-gaussian" else Skellam
        return law(self.share_variance)


def honest_shares(members: int, threshold: int, colluding: int) -> int:
    """Return m = t - n_C, the fewest honest members in a sum that the protocol releases.

    See docs/explanation/privacy-distributed.md, "The mechanism".

    Raises:
        ConfigError: If the numbers leave no honest member, or do not fit together.
    """
    if not 0 <= colluding < threshold <= members:
        raise ConfigError(
            f"of {members} members {threshold} survive and {colluding} collude: no honest member"
            " is left in a sum"
        )
    return threshold - colluding


def plan_noise(
    budget: Budget,
    sensitivity: Sensitivity,
    *,
    honest: int,
    sampling_rate: float,
    steps: int,
    law: IntegerLaw = "discrete-gaussian",
    accountant: AccountantName | None = None,
    spent: Sequence[PrivacyEvent] = (),
) -> NoisePlan:
    """Return the least noise that keeps all steps within the budget.

    Args:
        budget: Epsilon and delta of the whole run, never exceeded.
        sensitivity: Largest change of a step's sum by one unit.
        honest: m, see `honest_shares`.
        sampling_rate: q of the Poisson sample; 1 where every unit is in every step.
        steps: Number of released sums.
        law: The distribution of the shares.
        accountant: The accountant that decides, by default the law's; Skellam has "rdp" only.
        spent: Events already charged to the data.

    Raises:
        ConfigError: If no noise is enough, or more is needed than the samplers make.
    """
    if honest < 1:
        raise ConfigError("at least one honest member has to add noise")
    kept = set_aside(budget, 1 + len(spent))
    if law == "skellam":
        if accountant not in (None, "rdp"):
            raise ConfigError("Skellam noise is accounted by rdp only")
        event = SampledSkellam(honest, sensitivity, sampling_rate, steps)
        _check_samplers(budget, honest * steps * sensitivity.dimension)
        return _skellam_plan(kept, event, spent)
    sigma = noise_multiplier(
        kept,
        sampling_rate=sampling_rate,
        steps=steps,
        accountant=accountant or DEFAULT,
        spent=spent,
    )
    charged = SampledGaussian(sigma, sampling_rate, steps)
    return gaussian_shares(charged, sensitivity, honest=honest, budget=budget)


def set_aside(budget: Budget, noises: int = 1) -> Budget:
    """Return the budget less the reserve for inexact samplers and the discrete Gaussian bound.

    The one place that subtracts it: everything that is sized or charged is held against this.

    Args:
        budget: The whole run's.
        noises: Number of integer noises under the budget; each may use up a reserve of its own.
    """
    left = 1 - noises * _RESERVE
    return Budget(left * budget.epsilon, left * budget.delta)


def gaussian_shares(
    event: SampledGaussian, sensitivity: Sensitivity, *, honest: int, budget: Budget
) -> NoisePlan:
    """Return discrete Gaussian shares that cost what a Gaussian event does, all steps together.

    By the theorem of docs/explanation/noise-shares.md, "Discrete Gaussian shares cost what a
    Gaussian costs"; see `discrete_gaussian_bound`.

    Args:
        event: All steps of the run that share this noise.
        sensitivity: Largest change of a step's sum by one unit.
        honest: m, see `honest_shares`.
        budget: The whole run's; the event was sized for what `set_aside` leaves of it.

    Raises:
        ConfigError: If more noise is needed than the samplers make, or they are not exact enough.
    """
    draws = event.steps * sensitivity.dimension
    _check_samplers(budget, honest * draws)
    # The theorem adds 2 T x to epsilon; x has two equal parts a coordinate, hence the 4.
    allowed = _RESERVE * min(budget.epsilon, 1.0) / (4 * draws)
    share = _share_variance(event.noise_multiplier * sensitivity.l2, honest, allowed)
    return NoisePlan("discrete-gaussian", share, honest, sensitivity, event)


def _share_variance(deviation: float, shares: int, allowed: float) -> int:
    """Return the variance of shares whose sum is a post-processed Gaussian of `deviation`.

    Args:
        deviation: In integer units.
        shares: m.
        allowed: Largest value of either part of the factor, for one coordinate and step.
    """
    rounding = rounding_variance(allowed)
    share = max(
        math.ceil((deviation**2 + rounding) / shares), least_share_variance(allowed, shares)
    )
    assert log_factor(share, shares, rounding) <= 2 * allowed
    return _sampled(share)


def _skellam_plan(
    budget: Budget, least: SampledSkellam, spent: Sequence[PrivacyEvent]
) -> NoisePlan:
    """Return the plan of the least share variance, to one in ten thousand, by bisection.

    Args:
        budget: Epsilon and delta.
        least: The steps with shares of variance 1, so that its variance is their number.
        spent: Events already charged to the data.
    """
    honest = least.variance

    def event(share: int) -> SampledSkellam:
        return replace(least, variance=share * honest)

    def fits(share: int) -> bool:
        return skellam_epsilon([*spent, event(share)], budget.delta) <= budget.epsilon

    high = 1
    while not fits(high):
        high = _sampled(2 * high)
    low = high // 2
    while high - low > max(1.0, _RELATIVE * high):
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return NoisePlan("skellam", high, honest, least.sensitivity, event(high))


def _sampled(share: int) -> int:
    """Return the variance, if the samplers support it.

    Raises:
        ConfigError: If they do not.
    """
    if share > LARGEST_VARIANCE:
        raise ConfigError(
            "no noise that can be drawn keeps to the budget: take a coarser rounding step, fewer"
            " steps or more epsilon"
        )
    return share


def _check_samplers(budget: Budget, draws: int) -> None:
    """Refuse budgets that the distance of the samplers from their laws would use up.

    Raises:
        ConfigError: If the draws' total variation distance is beyond what was reserved of delta.
    """
    # A draw within total variation distance tv of its law adds tv (1 + e^epsilon) to delta.
    if draws * 2.0**-DISTANCE_BITS * (1 + math.exp(min(budget.epsilon, 500.0))) > (
        _RESERVE / 2 * budget.delta
    ):
        raise ConfigError("epsilon and delta are beyond what integer noise is exact to")
