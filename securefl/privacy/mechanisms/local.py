"""Local differential privacy: each member adds all the noise that its own release needs."""

from __future__ import annotations

from math import sqrt

from securefl.config.schema import RunConfig
from securefl.privacy.mechanisms.base import PrivacyMechanism, Releases
from securefl.privacy.round_updates import MemberContext, RoundTraining


class LocalDP(PrivacyMechanism):
    """DP-SGD at the member (Abadi et al. 2016), or Gaussian noise on the series it trains on."""

    dp = "local"

    def describe(self, releases: Releases) -> str:
        """See `PrivacyMechanism`."""
        if releases == "series":
            return "Gaussian (series in which each unit is bounded, local noise)"
        return "sampled Gaussian (Poisson batches, clipped gradients, local noise)"

    def against(self) -> str:
        """See `PrivacyMechanism`."""
        return "everyone who sees what its retailer releases"

    def noise_added(self) -> str:
        """See `PrivacyMechanism`."""
        return "added by each retailer to the sum"

    def make_update(self, context: MemberContext) -> RoundTraining:
        """See `PrivacyMechanism`."""
        return context.local_dp()

    def summed_deviation(
        self, config: RunConfig, members: int, dimension: int, survivors: int | None = None
    ) -> float:
        """See `PrivacyMechanism`; n members' noise adds up to sqrt(n) times that of one."""
        # Opacus takes seconds to import, and only a budget needs it.
        from securefl.privacy.noise.grid import Grid
        from securefl.privacy.plan import PrivacyPlan

        sigma = PrivacyPlan.of(config).sigma(config.rounds)
        return Grid.of(config.privacy.clip_norm, dimension, sigma).deviation * sqrt(
            survivors or members
        )
