"""The integers that members sum under noise shares: of clipped gradients, or of whole updates."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from securefl.config.schema import RunConfig
from securefl.privacy.accounting.sensitivity import Sensitivity
from securefl.privacy.encoding.client_update import MemberEncoding, member_bits, member_encoding
from securefl.privacy.encoding.gradients import fraction_bits, sum_sensitivity
from securefl_protocols.encoding.fixed_point import FixedPoint
from securefl_protocols.primitives.errors import PlanError
from securefl_protocols.primitives.ring import RingDtype


@dataclass(frozen=True)
class SumEncoding:
    """The public format of a sum.

    Attributes:
        bits: f; integers are multiples of 2^-f of the change of a parameter.
        sensitivity: How far one unit moves a member's integers.
        whole: How whole updates are encoded, where a member is the unit.
    """

    bits: int
    sensitivity: Sensitivity
    whole: MemberEncoding | None

    @property
    def coordinates(self) -> int:
        """How many integers a member has; loss and weight come behind them."""
        return self.sensitivity.dimension

    def fixed_point(self, config: RunConfig, members: int) -> FixedPoint:
        """The number format of a cohort, in which every member has weight 1.

        The step follows from the noise and not from the lane, so that with `bits = "auto"` 32 bits
        are taken wherever the agreed limit fits them.

        Raises:
            PlanError: If the numbers do not fit the lane.
        """
        settings = config.secure
        if settings.bits == "auto":
            with suppress(PlanError):
                return FixedPoint(members, 1, settings.limit, RingDtype.UINT32, self.bits)
        return FixedPoint(members, 1, settings.limit, RingDtype(settings.widest), self.bits)


def gradient_sum_encoding(config: RunConfig, dimension: int) -> SumEncoding:
    """The encoding of sums of clipped gradients of d shared parameters."""
    settings = config.privacy
    bits = fraction_bits(settings, dimension)
    return SumEncoding(bits, sum_sensitivity(settings, dimension), None)


def client_update_encoding(config: RunConfig, dimension: int) -> SumEncoding:
    """The encoding of whole updates of d shared parameters.

    Raises:
        ConfigError: If rounding is too fine for exact norms.
    """
    whole = member_encoding(config, dimension)
    return SumEncoding(member_bits(whole), whole.sensitivity, whole)
