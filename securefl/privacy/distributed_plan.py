"""The plan of a run under distributed differential privacy: shares, events and epsilon.

The noise in a sum is that of the honest shares in it, so it is accounted for as one mechanism on
the rounded sum. It belongs to all members together: all draw shares of one variance, which follows
from the agreement. A member that decided by itself to add more or less noise would be charged for
noise that is not there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

from securefl.config.cohort import cohort_size, least_survivors
from securefl.config.schema import RunConfig
from securefl.errors import ConfigError
from securefl.privacy.accounting.events import PrivacyEvent
from securefl.privacy.encoding.gradients import SumEncoding, gradient_signal
from securefl.privacy.encoding.lanes import noise_reach, noised_encoding
from securefl.privacy.mechanisms import mechanism_for
from securefl.privacy.noise.shares import NoisePlan, honest_shares, plan_noise
from securefl.privacy.noise.xnoise import LayerPlan
from securefl.privacy.plan import PrivacyPlan
from securefl_protocols.encoding.fixed_point import FixedPoint

_DROWNED = 10.0
"""Largest ratio of the length of the noise on a mean to that of any update; beyond, no learning."""


@dataclass(frozen=True)
class DistributedPlan:
    """The public parameters of rounds with noise shares.

    Attributes:
        base: Budget and rounds.
        cohort: Members of a round.
        threshold: The fewest of them in a sum.
        code: The integer encoding of a member's sum.
        config: What was agreed.
    """

    base: PrivacyPlan
    cohort: int
    threshold: int
    code: SumEncoding
    config: RunConfig

    @classmethod
    def of(cls, config: RunConfig, members: int, dimension: int) -> DistributedPlan:
        """Return the plan of a run of `members` members and a model of `dimension` coordinates.

        Raises:
            ConfigError: If no honest member is left in a sum, the run has no budget, or delta is
                too large for so many members.
        """
        base, mechanism = PrivacyPlan.of(config), mechanism_for(config.privacy)
        if not mechanism.by_example:  # the members are the units
            base.check_units("the consortium", members)
        cohort = cohort_size(config.cohort, members)
        threshold = least_survivors(config.cohort, cohort)
        honest_shares(cohort, threshold, config.privacy.distributed.colluding)
        code = mechanism.sum_encoding(config, dimension)
        return cls(base, cohort, threshold, code, config)

    @property
    def honest(self) -> int:
        """Fewest honest shares in a sum that the protocol releases."""
        colluding = self.base.settings.distributed.colluding
        return honest_shares(self.cohort, self.threshold, colluding)

    @cached_property
    def noise(self) -> NoisePlan:
        """The shares of all members in all rounds.

        Raises:
            ConfigError: If no noise keeps to the budget, or more than can be drawn.
        """
        settings = self.base.settings
        plan = plan_noise(
            self.base.budget,
            self.code.sensitivity,
            honest=self.honest,
            sampling_rate=settings.sampling_rate,
            steps=self.base.rounds * settings.steps,
            law=settings.distributed.law,
            accountant=settings.accountant,
            spent=self.base.reserved,
        )
        if self.code.whole is not None:
            self._check_use(plan)
        return plan

    def _check_use(self, plan: NoisePlan) -> None:
        """Refuse noise that drowns every update, and updates that the format has no room for.

        A member whose update did not fit would reveal that by not sending. The mean of the updates
        has norm C at most; the length of the noise on it is about the deviation of the sum times
        the root of the number of coordinates, over the number of members.
        """
        if plan.sensitivity.l2 * 2.0**-self.code.bits > self.config.secure.limit / 2:
            raise ConfigError("secure.limit: has to be twice privacy.clip_norm, and a little more")
        noise = plan.summed_deviation(self.cohort) * math.sqrt(self.code.coordinates)
        times = noise / self.cohort / plan.sensitivity.l2
        if times >= _DROWNED:
            raise ConfigError(
                f"privacy.unit: {self.cohort} members cannot hide one of them: the noise on their"
                f" mean would be {times:.0f} times as long as the largest update; it takes more"
                " members, more epsilon, fewer rounds or a smaller model (or --unit customer)"
            )

    @cached_property
    def layers(self) -> LayerPlan | None:
        """The layers of the shares, where excess noise is removed; None where there is none."""
        agreed = self.base.settings.distributed
        if agreed.excess == "keep" or self.cohort == self.threshold:
            return None
        target = self.noise.honest * self.noise.share_variance
        return LayerPlan(self.noise.law, target, self.cohort, self.threshold, agreed.colluding)

    @property
    def signal(self) -> float:
        """Largest coordinate of a member's part before noise."""
        if self.code.whole is None:
            return gradient_signal(self.config)
        return self.code.sensitivity.l2 * 2.0**-self.code.bits

    def encoding(self, members: int) -> FixedPoint:
        """Return the encoding of the noised integers of a cohort.

        Raises:
            PlanError: If signal and noise of so many members do not fit the bits.
        """
        variance = self.noise.share_variance
        if self.layers is not None:
            variance = max(variance, self.layers.share_variance(self.layers.removable))
        draws = members * self.code.coordinates * self.base.rounds
        reach = noise_reach(variance, draws)
        return noised_encoding(self.config, members, self.code.bits, self.signal, reach)

    @property
    def event(self) -> PrivacyEvent:
        """The event of one round."""
        return self.noise.event.with_steps(self.base.settings.steps)


@lru_cache(maxsize=4)
def plan_of(config: RunConfig, members: int, dimension: int) -> DistributedPlan:
    """Return `DistributedPlan.of`, cached: calibrating the noise takes longer than a round."""
    return DistributedPlan.of(config, members, dimension)
