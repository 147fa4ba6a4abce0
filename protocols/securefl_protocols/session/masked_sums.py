"""The sum of the masked inputs as they arrive, kept apart for members with different tag keys.

Whoever deals different contributions to different members splits them into groups that hide
their tags from each other: the sum over two groups has a tag that nobody can check. The
coordinator sees that before it unmasks anything, and goes on with the largest group.
"""

from dataclasses import dataclass, field

import numpy as np

from securefl_protocols.primitives.ring import RingVector
from securefl_protocols.session.checksum import checksum_from_bytes
from securefl_protocols.session.dropouts import DropoutReason, Refused
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.wire.messages import MaskedInput


@dataclass(slots=True)
class MaskedSum:
    """The sum of the masked inputs of members that have the same tag key.

    Attributes:
        check: 32 bytes, the check of that key.
        total: Shape [d], the sum of their vectors modulo 2^b.
        tag: The sum of their tags, not reduced.
        members: Whose inputs are in it.
    """

    check: bytes
    total: RingVector
    tag: int = 0
    members: set[int] = field(default_factory=set)


class MaskedSums:
    """The sums of one round."""

    def __init__(self, plan: SessionPlan) -> None:
        """Begin without an input.

        Args:
            plan: The plan of the session.
        """
        self._plan = plan
        self._sums: dict[bytes, MaskedSum] = {}

    def add(self, member: int, message: MaskedInput) -> None:
        """Add a masked input.

        Raises:
            Refused: It has another length than the plan says.
            RemoteProtocolError: Its tag is not below q.
        """
        plan = self._plan
        if len(message.vector) != plan.vector_bytes:
            raise Refused(DropoutReason.MALFORMED, "the masked input has another length")
        tag = checksum_from_bytes(message.tag)
        if message.tag_check not in self._sums:
            zeros = np.zeros(plan.dimension, dtype=plan.ring.dtype)
            self._sums[message.tag_check] = MaskedSum(message.tag_check, zeros)
        into = self._sums[message.tag_check]
        into.total += plan.ring.unpack(message.vector)
        into.tag += tag
        into.members.add(member)

    def largest(self) -> MaskedSum:
        """Return the sum of most members; of two as large, that of the lowest index."""
        nobody = MaskedSum(b"", np.zeros(0, dtype=self._plan.ring.dtype))
        sums = self._sums.values()
        return max(sums, key=lambda one: (len(one.members), -min(one.members)), default=nobody)
