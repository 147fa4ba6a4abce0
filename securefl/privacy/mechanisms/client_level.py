"""Client-level differential privacy: a member's whole update is the unit.

For consortia so large that one update is hidden by the sum of all (McMahan et al. 2018, with the
distributed discrete Gaussian of Kairouz, Liu and Steinke 2021).
"""

from __future__ import annotations

from securefl.config.schema import RunConfig
from securefl.privacy.accounting.spent import MemberUnit
from securefl.privacy.encoding.gradients import SumEncoding, client_update_encoding
from securefl.privacy.mechanisms.base import Releases
from securefl.privacy.mechanisms.distributed import DistributedDP
from securefl.privacy.round_updates import MemberContext, RoundTraining


class ClientLevelDP(DistributedDP):
    """Plain local training, of which the update is clipped, rotated, rounded and noised."""

    by_example = False

    @classmethod
    def selected_by(cls, dp: str, unit: str | None) -> bool:
        """See `PrivacyMechanism`; `dp = "distributed"` has two mechanisms, and the unit decides."""
        return super().selected_by(dp, unit) and unit == MemberUnit.name

    def units(self, own: int, members: int) -> int:
        """Return the number of members, which are the units."""
        del own
        return members

    def describe(self, releases: Releases) -> str:
        """See `PrivacyMechanism`."""
        del releases
        return f"{self._charged_as} (whole updates, clipped, rotated and rounded, {self._shares})"

    def make_update(self, context: MemberContext) -> RoundTraining:
        """See `PrivacyMechanism`."""
        return context.client_level()

    def sum_encoding(self, config: RunConfig, dimension: int) -> SumEncoding:
        """See `PrivacyMechanism`."""
        return client_update_encoding(config, dimension)

    def _integer_unit(self, code: SumEncoding) -> float:
        """Return 2^-f: unlike a gradient sum, an update is not divided by a batch size."""
        return 2.0**-code.bits
