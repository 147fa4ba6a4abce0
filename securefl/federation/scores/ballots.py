"""Members' votes on a round's model: open, and signed by each member.

Open and not hidden in a masked sum: no member proves that what it adds to a sum is a single vote.
The one attacker that the vote is about could add minus three rejections and be believed. Under a
signature each member has one vote. What it costs: the coordinator sees which members rejected a
model, and for which class of reason. Without a budget members agree to that; under one a ballot is
computed from noised figures that are charged (`noised_judgement.py`), and so costs nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgpack

from securefl.config.vote import VoteSettings
from securefl.consortium.agreement.context import Consortium
from securefl.consortium.ledger.vote_events import SignedBallot
from securefl.consortium.ledger.vote_events import Vote as VoteEvent
from securefl.federation.scores.judgement import ABSTAIN, BALLOTS, WORSE, rejected
from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.primitives.signing import SigningKey, verify
from securefl_protocols.wire.context import labelled_digest

BALLOT_LABEL: Final = b"securefl/1/ballot"


@dataclass(frozen=True)
class Vote:
    """The vote on a round's model.

    Attributes:
        ballots: Member to what it said.
        signatures: Member to its signature, in hex.
        absent: Members that gave no ballot, in roster order.
        rejected: Whether the agreed quorum rejects the model.
    """

    ballots: Mapping[str, str] = field(default_factory=dict)
    signatures: Mapping[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    rejected: bool = False

    @property
    def reasons(self) -> str:
        """How many members said what, in words, and who said nothing."""
        said = list(self.ballots.values())
        parts = [f"{said.count(one)} {one}" for one in BALLOTS if one in said]
        parts += [f"no ballot of {', '.join(self.absent)}"] if self.absent else []
        return ", ".join(parts)

    def packed(self) -> bytes:
        """Return the vote as it travels to the members, which count for themselves."""
        return packed_ballots(self._signed())

    def event(self, number: int, model: bytes) -> VoteEvent:
        """Return the ledger's entry on the vote on a round's model (digest, 32 bytes)."""
        ballots, out = self._signed(), self.rejected
        return VoteEvent(round=number, model=model.hex(), ballots=ballots, rejected=out)

    def _signed(self) -> tuple[SignedBallot, ...]:
        return tuple(
            SignedBallot(member=one, ballot=said, signature=self.signatures[one])
            for one, said in self.ballots.items()
        )


def packed_ballots(ballots: Sequence[SignedBallot]) -> bytes:
    """Return ballots as they travel."""
    packed: bytes = msgpack.packb([[one.member, one.ballot, one.signature] for one in ballots])
    return packed


def counted(
    settings: VoteSettings, ballots: Mapping[str, str], names: tuple[str, ...]
) -> dict[str, int]:
    """Return ballot to number of members; who gave none counts as it was agreed."""
    absent = ABSTAIN if settings.absent == "abstain" else WORSE
    said = [ballots.get(name, absent) for name in names]
    return {ballot: said.count(ballot) for ballot in BALLOTS}


def vote_of(
    consortium: Consortium,
    ended: tuple[int, bytes],
    ballots: Mapping[str, str],
    signatures: Mapping[str, bytes],
) -> Vote:
    """Return the vote that follows from what members signed.

    Args:
        consortium: The parties and their agreement, with a section on votes.
        ended: Number of the round, and the digest of its model, 32 bytes.
        ballots: Member to what it is said to have said.
        signatures: Member to its signature; a ballot without a valid one is none.
    """
    settings, names = consortium.config.vote, consortium.roster.names
    assert settings is not None
    valid = {
        name: ballots[name]
        for name in names
        if name in ballots
        and is_of(consortium, name, signatures.get(name, b""), (*ended, ballots[name]))
    }
    return Vote(
        valid,
        {name: signatures[name].hex() for name in valid},
        tuple(name for name in names if name not in valid),
        rejected(counted(settings, valid, names), settings.quorum),
    )


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
