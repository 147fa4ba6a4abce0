"""What a member brings to every round of a session."""

from dataclasses import dataclass

from securefl_protocols.primitives.entropy import Entropy
from securefl_protocols.primitives.signing import SigningKey
from securefl_protocols.session.plan import SessionPlan
from securefl_protocols.wire.roster import Roster


@dataclass(frozen=True, slots=True)
class Party:
    """What a member brings to every round of a session.

    Attributes:
        plan: The agreed plan.
        roster: The pinned roster.
        index: Where the member stands in it.
        identity: Its Ed25519 key.
        entropy: Its source of randomness.
        threads: How many threads expand masks.
    """

    plan: SessionPlan
    roster: Roster
    index: int
    identity: SigningKey
    entropy: Entropy
    threads: int
