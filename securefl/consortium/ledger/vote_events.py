"""Ledger events of votes: a member's own ballot, and the vote that it was shown."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from securefl.consortium.ledger.event_base import (
    LARGEST_INTEGER,
    AnyMechanism,
    Digest,
    Name,
    Probability,
    Record,
)

Signature = Annotated[str, Field(pattern="^[0-9a-f]{128}$")]
"""64 bytes in lower-case hex."""


class Ballot(Record):
    """A member's own ballot, recorded, and charged under a budget, before it leaves the member.

    Attributes:
        round: Number of the round.
        model: Digest of the model that is voted on.
        ballot: What the member says; see `scores.judgement.BALLOTS`.
        mechanism: The charged mechanism; null without differential privacy, and for a member that
            abstains without a look at its data.
        delta: Delta of the epsilons; null without a charge.
        epsilon_before: Epsilon over the life of the data, before this ballot.
        epsilon_after: Epsilon over the life of the data, with this ballot.
    """

    kind: Literal["ballot"] = "ballot"
    round: Annotated[PositiveInt, Field(le=LARGEST_INTEGER)]
    model: Digest
    ballot: Name
    mechanism: AnyMechanism | None = None
    delta: Probability | None = None
    epsilon_before: NonNegativeFloat | None = None
    epsilon_after: NonNegativeFloat | None = None


class SignedBallot(Record):
    """One member's ballot in a vote, under its own signature (`scores.ballots`)."""

    member: Name
    ballot: Name
    signature: Signature


class Vote(Record):
    """The vote on a round's model, as it was shown to this member, which verified it.

    Attributes:
        round: Number of the round.
        model: Digest of the model that was voted on.
        ballots: In roster order; members that are not in it gave no ballot.
        rejected: Whether the model was rejected, by the agreed rule.
    """

    kind: Literal["vote"] = "vote"
    round: Annotated[PositiveInt, Field(le=LARGEST_INTEGER)]
    model: Digest
    ballots: tuple[SignedBallot, ...]
    rejected: bool
