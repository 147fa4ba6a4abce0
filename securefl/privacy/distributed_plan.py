"""What a run under distributed differential privacy comes to: shares, events and epsilon.

The noise in a sum is that of the honest shares in it, so it is priced as one mechanism on the
rounded sum. It is the members' together: all draw shares of the one variance that follows from
what was agreed. A member that adds more alone, or less because it has rounds left, would be
charged for noise that is not there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from securefl.config.cohort import cohort_size, least_survivors
from securefl.config.schema import RunConfig
from securefl.errors import ConfigError
from securefl.privacy.accounting.calibration import Budget
from securefl.privacy.accounting.events import PrivacyEvent
from securefl.privacy.encoding.gradients import check_room
from securefl.privacy.encoding.sums import SumEncoding
from securefl.privacy.mechanisms import mechanism_for
from securefl.privacy.noise.shares import NoisePlan, honest_shares, plan_noise, set_aside
from securefl.privacy.noise.xnoise import LayerPlan
from securefl.privacy.plan import PrivacyPlan

_DROWNED = 10.0
"""Where the noise on a mean is so many times as long as any update, rounds only add noise."""


@dataclass(frozen=True)
class DistributedPlan:
    """The public side of private gradient rounds.

    Attributes:
        base: Budget, less what is set aside for the samplers, and rounds.
        budget: The whole budget.
        cohort: Members of a round.
        threshold: The fewest of them in a sum.
        code: How what a member sums up becomes integers.
        limit: Largest coordinate of a change.
    """

    base: PrivacyPlan
    budget: Budget
    cohort: int
    threshold: int
    code: SumEncoding
    limit: float

    @classmethod
    def of(cls, config: RunConfig, members: int, dimension: int) -> DistributedPlan:
        """The plan of a run of so many members.

        Raises:
            ConfigError: If no honest member is left in a sum, the run states no budget, or delta
                says nothing for so many members.
        """
        base, mechanism = PrivacyPlan.of(config), mechanism_for(config.privacy)
        if not mechanism.by_example:  # the members are the units
            base.check_units("the consortium", members)
        cohort = cohort_size(config.cohort, members)
        threshold = least_survivors(config.cohort, cohort)
        honest_shares(cohort, threshold, config.privacy.distributed.colluding)
        kept = replace(base, budget=set_aside(base.budget))
        code = mechanism.sum_encoding(config, dimension)
        return cls(kept, base.budget, cohort, threshold, code, config.secure.limit)

    @property
    def honest(self) -> int:
        """How many honest shares are in every sum that the protocol lets through."""
        colluding = self.base.settings.distributed.colluding
        return honest_shares(self.cohort, self.threshold, colluding)

    @cached_property
    def noise(self) -> NoisePlan:
        """The shares of all members in all rounds.

        Raises:
            ConfigError: If no noise keeps to the budget, or more than can be drawn or summed.
        """
        settings = self.base.settings
        plan = plan_noise(
            self.budget,
            self.code.sensitivity,
            honest=self.honest,
            sampling_rate=settings.sampling_rate,
            steps=self.base.rounds * settings.steps,
            law=settings.distributed.law,
            accountant=settings.accountant,
        )
        if self.code.whole is not None:
            self._check_use(plan)
        check_room(self.limit, self.code.bits, plan.share_deviation)
        return plan

    def _check_use(self, plan: NoisePlan) -> None:
        """Refuse noise in which every update drowns, and updates that the format has no room for.

        A member that could not send what it has would tell so by its silence. The mean of the
        updates has norm C at most, and the noise on it that of the sum over the number of members:
        its deviation times the root of the number of coordinates.
        """
        if plan.sensitivity.l2 * 2.0**-self.code.bits > self.limit / 2:
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
        """How the shares are cut, where noise is taken back; None where none can be."""
        agreed = self.base.settings.distributed
        if agreed.excess == "keep" or self.cohort == self.threshold:
            return None
        target = self.noise.honest * self.noise.share_variance
        return LayerPlan(self.noise.law, target, self.cohort, self.threshold, agreed.colluding)

    @property
    def event(self) -> PrivacyEvent:
        """What one round costs."""
        return self.noise.event.with_steps(self.base.settings.steps)


@lru_cache(maxsize=4)
def plan_of(config: RunConfig, members: int, dimension: int) -> DistributedPlan:
    """`DistributedPlan.of`, worked out once: to find the noise takes longer than a round."""
    return DistributedPlan.of(config, members, dimension)
