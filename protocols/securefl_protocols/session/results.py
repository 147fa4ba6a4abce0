"""What a round ends with, for a member and for the coordinator."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from securefl_protocols.primitives.ring import RingVector


@dataclass(frozen=True, slots=True)
class RoundResult:
    """The sum of one round.

    Attributes:
        round: Number of the round.
        total: Shape [d] in the ring of the plan, the sum of the survivors' inputs modulo 2^b.
        survivors: Whose inputs are in the sum, ascending.
        verified: Whether the tag of the sum was checked, and it fits.
        opened: By survivor, the keys of its noise layers that nobody dropped out for, 32 bytes
            each; none of those that revealed nothing.
        checksum: 12 bytes, the sum of the tags that was announced with it, or that a replay found.
    """

    round: int
    total: RingVector
    survivors: tuple[int, ...]
    verified: bool
    opened: Mapping[int, tuple[bytes, ...]] = field(default_factory=dict, repr=False)
    checksum: bytes = b""
