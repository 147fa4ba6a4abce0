"""No differential privacy: nothing is clipped, noised or charged."""

from __future__ import annotations

from typing import ClassVar

from securefl.config.privacy import NONE
from securefl.config.schema import RunConfig
from securefl.privacy.accounting.events import PrivacyEvent
from securefl.privacy.mechanisms.base import PrivacyMechanism, Releases
from securefl.privacy.round_updates import MemberContext, RoundTraining


class NoDP(PrivacyMechanism):
    """Plain local training without any protection."""

    dp = NONE
    private = False
    by_example = False
    events: ClassVar[tuple[type[PrivacyEvent], ...]] = ()

    @property
    def recorded_as(self) -> str:
        """The name in results; no event is recorded in a ledger."""
        return NONE

    def describe(self, releases: Releases) -> str:
        """See `PrivacyMechanism`."""
        del releases
        return "none"

    def against(self) -> str:
        """See `PrivacyMechanism`."""
        return "no party"

    def noise_added(self) -> str:
        """See `PrivacyMechanism`."""
        return "not added"

    def make_update(self, context: MemberContext) -> RoundTraining:
        """See `PrivacyMechanism`."""
        return context.fedavg()

    def check(self, config: RunConfig, members: int, dimension: int) -> None:
        """Accept every run: nothing is planned."""

    def summed_deviation(
        self, config: RunConfig, members: int, dimension: int, survivors: int | None = None
    ) -> float:
        """See `PrivacyMechanism`."""
        del config, members, dimension, survivors
        return 0.0
