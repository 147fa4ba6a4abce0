"""The coordinator's steps; who was left out of one, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum

from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.wire.messages import (
    AdvertiseKeys,
    CommittedKeys,
    Consistency,
    LayeredInput,
    LayeredUnmask,
    MaskedInput,
    MemberMessage,
    ProvenConsistency,
    Reveal,
    ShareKeys,
    Unmask,
)


class ServerStep(IntEnum):
    """What the coordinator is collecting, in the order of the protocol."""

    ADVERTISE = 1
    REVEAL = 2
    SHARE = 3
    MASK = 4
    CONSISTENCY = 5
    UNMASK = 6
    IDLE = 7
    CLOSED = 8


COLLECTED_IN: Mapping[type[MemberMessage], ServerStep] = {
    AdvertiseKeys: ServerStep.ADVERTISE,
    CommittedKeys: ServerStep.ADVERTISE,
    Reveal: ServerStep.REVEAL,
    ShareKeys: ServerStep.SHARE,
    MaskedInput: ServerStep.MASK,
    Consistency: ServerStep.CONSISTENCY,
    Unmask: ServerStep.UNMASK,
    LayeredInput: ServerStep.MASK,
    LayeredUnmask: ServerStep.UNMASK,
    ProvenConsistency: ServerStep.CONSISTENCY,
}
"""The one step in which each message is taken."""

OPENING = (ServerStep.ADVERTISE, ServerStep.REVEAL)
"""The steps before the first round; REVEAL only where the members draw a graph."""


class DropoutReason(Enum):
    """Why a member was left out.

    The first three happen to the honest, and the member may be back in the next round. The
    others do not, and the member is out of the session; of two with a disputed key, one lied
    and the other is out with it, until the next session.
    """

    SILENT = "no message before the step ended"
    LATE = "a message for a step that had ended, or that went on without the member"
    OTHER_TAG_KEY = "another tag key than most: somebody dealt different contributions"
    MALFORMED = "bytes that are no message of this session"
    OUT_OF_STEP = "a message for a step that had not begun"
    EQUIVOCATION = "two different messages for one step"
    BAD_SIGNATURE = "a signature that does not fit the pinned identity"
    BAD_SHARE = "a share that is not the one its dealer committed to"
    BAD_SECRET = "shares that do not rebuild the secret committed to"  # noqa: S105
    BAD_VALUE = "a value of the draw that is not the one committed to"
    BAD_LINK = "a key of noise layers that is not the promised one"
    BAD_NORM = "no proof that its norm is within what was agreed"
    DISPUTED_KEY = "one of two members that promised different keys of their pairwise mask"

    @property
    def may_return(self) -> bool:
        """Whether it happens to honest members too."""
        return self in (DropoutReason.SILENT, DropoutReason.LATE, DropoutReason.OTHER_TAG_KEY)


@dataclass(frozen=True, slots=True)
class Dropout:
    """One member left out of one step.

    Attributes:
        member: Index of the member.
        step: What the coordinator was collecting.
        reason: Why.
        detail: What exactly was wrong, in one line.
    """

    member: int
    step: ServerStep
    reason: DropoutReason
    detail: str


class Refused(RemoteProtocolError):
    """A member's message that the coordinator does not take.

    Attributes:
        reason: What the member is dropped for.
    """

    def __init__(self, reason: DropoutReason, message: str, peer: int | None = None) -> None:
        super().__init__(message, peer)
        self.reason = reason
