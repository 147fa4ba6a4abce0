"""Members' votes on a round's model: open, and signed by each member.

Open and not hidden in a masked sum: no member proves that what it adds to a sum is a single vote.
The one attacker that the vote is about could add minus three rejections and be believed. Under a
signature each member has one vote. What it costs: the coordinator sees which members rejected a
model, and for which class of reason. Without a budget members agree to that; under one no plan
prices it, and the configuration refuses a vote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from securefl.config.vote import VoteSettings
from securefl.consortium.agreement.context import Consortium
from securefl.federation.scores.judgement import BALLOTS, rejected
from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.primitives.signing import SigningKey, verify
from securefl_protocols.wire.context import labelled_digest

BALLOT_LABEL: Final = b"securefl/1/ballot"


@dataclass(frozen=True)
class Vote:
    """The vote on a round's model.

    Attributes:
        ballots: Member to what it said; one that said nothing abstained.
        signatures: Member to its signature, in hex.
        rejected: Whether the agreed quorum rejects the model.
    """

    ballots: Mapping[str, str] = field(default_factory=dict)
    signatures: Mapping[str, str] = field(default_factory=dict)
    rejected: bool = False

    @property
    def reasons(self) -> str:
        """How many members said what, in words."""
        counts = counted(self.ballots)
        return ", ".join(f"{count} {ballot}" for ballot, count in counts.items() if count)


def counted(ballots: Mapping[str, str]) -> dict[str, int]:
    """Return ballot to number of members."""
    said = list(ballots.values())
    return {ballot: said.count(ballot) for ballot in BALLOTS}


def vote_of(
    settings: VoteSettings, ballots: Mapping[str, str], signatures: Mapping[str, str]
) -> Vote:
    """Return the vote that follows from members' ballots."""
    return Vote(ballots, signatures, rejected(counted(ballots), settings.quorum))


def signed_ballot(
    consortium: Consortium, key: SigningKey, number: int, model: bytes, ballot: str
) -> bytes:
    """Return a member's signature under its ballot on the model (digest) of a round."""
    return key.sign(BALLOT_LABEL, _statement(consortium, number, model, ballot))


def is_of(
    consortium: Consortium, name: str, signature: bytes, said: tuple[int, bytes, str]
) -> bool:
    """Return whether a member signed a ballot.

    Args:
        consortium: The parties and their agreement.
        name: The member.
        signature: Its signature.
        said: Number of the round, digest of its model, and the ballot.
    """
    roster = consortium.roster
    key = roster.identities[roster.names.index(name)]
    try:
        verify(key, signature, BALLOT_LABEL, _statement(consortium, *said))
    except RemoteProtocolError:
        return False
    return said[2] in BALLOTS


def _statement(consortium: Consortium, number: int, model: bytes, ballot: str) -> bytes:
    parts = consortium.digest(), consortium.run_id, number.to_bytes(8, "big"), model
    return labelled_digest(BALLOT_LABEL, *parts, ballot.encode())
