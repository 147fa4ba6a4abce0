"""Distributed differential privacy: members add shares of one noise under the masks of a sum.

The distributed discrete Gaussian (Kairouz, Liu and Steinke 2021) and the Skellam mechanism
(Agarwal, Kairouz and Liu 2021): a single share does not hide a unit; the shares of the honest
survivors together do.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import TYPE_CHECKING, ClassVar, Final

from securefl.config.schema import RunConfig
from securefl.errors import ConfigError
from securefl.privacy.accounting.events import PrivacyEvent, SampledGaussian, SampledSkellam
from securefl.privacy.encoding.gradients import SumEncoding, gradient_sum_encoding
from securefl.privacy.mechanisms.base import PrivacyMechanism, Releases, SumFormat
from securefl.privacy.round_updates import MemberContext, RoundTraining
from securefl_protocols.primitives.errors import PlanError

if TYPE_CHECKING:
    from securefl.privacy.plan import PrivacyPlan

_SKELLAM: Final = "skellam"
_LAWS: Final = {"discrete-gaussian": ("discrete Gaussian", "Gaussian"), _SKELLAM: ("Skellam",) * 2}
"""Distribution of the shares to its name, and to the mechanism that their sum is charged as."""


class DistributedDP(PrivacyMechanism):
    """One clipped sum of gradients a round, which hides single customers or records."""

    dp = "distributed"
    shares_noise = True
    events: ClassVar[tuple[type[PrivacyEvent], ...]] = (SampledGaussian, SampledSkellam)

    @property
    def noise_law(self) -> str:
        """See `PrivacyMechanism`."""
        return self.settings.distributed.law

    @property
    def recorded_as(self) -> str:
        """See `PrivacyMechanism`; discrete Gaussian shares are charged as a Gaussian."""
        kind = SampledSkellam if self.noise_law == _SKELLAM else SampledGaussian
        return kind.recorded_as

    def describe(self, releases: Releases) -> str:
        """See `PrivacyMechanism`."""
        del releases
        return f"sampled {self._charged_as} (Poisson batches, clipped gradients, {self._shares})"

    def against(self) -> str:
        """See `PrivacyMechanism`."""
        colluding = self.settings.distributed.colluding
        if not colluding:
            return "everyone but the other retailers, who know their own noise shares"
        members = "retailer" if colluding == 1 else "retailers"
        return f"the coordinator and everyone who sees the sums, {colluding} {members} among them"

    def noise_added(self) -> str:
        """See `PrivacyMechanism`."""
        return "added in shares to the masked sum"

    def make_update(self, context: MemberContext) -> RoundTraining:
        """See `PrivacyMechanism`."""
        return context.gradient_sums()

    def planned_event(self, config: RunConfig, plan: PrivacyPlan) -> PrivacyEvent:
        """See `PrivacyMechanism`.

        What Skellam noise costs beyond its deviation falls with the number of parameters, which a
        plan does not know; with a single one it is largest, so that the plan is an upper bound.
        """
        if self.noise_law != _SKELLAM:
            return super().planned_event(config, plan)
        # Opacus takes seconds to import, and only a budget needs it.
        from securefl.privacy.noise.shares import plan_noise

        return plan_noise(
            plan.budget,
            self.sum_encoding(config, 1).sensitivity,
            honest=1,
            sampling_rate=plan.settings.sampling_rate,
            steps=plan.rounds * plan.settings.steps,
            law=_SKELLAM,
            spent=plan.reserved,
        ).event

    def round_event(
        self,
        config: RunConfig,
        members: int,
        dimension: int,
        number: int,
        charged: Sequence[PrivacyEvent],
    ) -> PrivacyEvent:
        """See `PrivacyMechanism`; one noise in all rounds, which no member decides by itself."""
        del number, charged
        from securefl.privacy.distributed_plan import plan_of

        return plan_of(config, members, dimension).event

    def check(self, config: RunConfig, members: int, dimension: int) -> None:
        """See `PrivacyMechanism`; also refuses what cannot be summed."""
        from securefl.privacy.distributed_plan import plan_of

        plan = plan_of(config, members, dimension)
        try:
            plan.encoding(plan.cohort)  # computing it raises where no noise fits
        except PlanError as error:
            raise ConfigError(f"secure.bits: no room for signal and noise: {error}") from None

    def sum_encoding(self, config: RunConfig, dimension: int) -> SumEncoding:
        """See `PrivacyMechanism`."""
        return gradient_sum_encoding(config, dimension)

    def sum_format(
        self, config: RunConfig, *, roster: int, cohort: int, dimension: int
    ) -> SumFormat:
        """See `PrivacyMechanism`."""
        from securefl.privacy.distributed_plan import plan_of

        plan = plan_of(config, roster, dimension)
        whole = plan.code.whole
        return SumFormat(
            plan.encoding(cohort), plan.layers, None if whole is None else whole.rotation
        )

    def summed_deviation(
        self, config: RunConfig, members: int, dimension: int, survivors: int | None = None
    ) -> float:
        """See `PrivacyMechanism`; where excess noise is removed, the most that can remain."""
        from securefl.privacy.distributed_plan import plan_of

        plan = plan_of(config, members, dimension)
        step = self._integer_unit(plan.code)
        if plan.layers is None:
            return plan.noise.summed_deviation(survivors or members) * step
        most = plan.threshold * plan.layers.share_variance(plan.layers.removable)
        return sqrt(most) * step

    def _integer_unit(self, code: SumEncoding) -> float:
        """Return the value of one integer step in a sum over units: gamma = B / 2^f."""
        return self.settings.expected_batch / 2.0**code.bits

    @property
    def _charged_as(self) -> str:
        return _LAWS[self.noise_law][1]

    @property
    def _shares(self) -> str:
        return f"{_LAWS[self.noise_law][0]} noise shares in a masked sum"
