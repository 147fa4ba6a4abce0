"""Messages about the ledger, between the coordinator and the members."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from securefl.federation.messages.base import Message

Digest = Annotated[bytes, Field(min_length=32, max_length=32)]


class StartRun(Message):
    """Coordinator to member: take part in this run, or refuse.

    Attributes:
        since: Number of the member's entries that the coordinator has.
    """

    kind: Literal["begin"] = "begin"
    since: NonNegativeInt


class Conclude(Message):
    """Coordinator to member: record how a round ended, and send your entries.

    Attributes:
        survivors: The members whose updates are in the sum, in roster order.
        model: Digest of the shared model that the round ended with, 32 bytes.
        transcript: Digest of the masked sum's transcript, 32 bytes; None in mode `plain`.
        since: Number of the member's entries that the coordinator has.
        proof: The member's own signature under the end of the round, which a member that lost its
            state knows again; empty where it gave none.
        vote: All ballots on that model with their signatures, see `scores.ballots.Vote.packed`;
            empty where no vote was agreed.
    """

    kind: Literal["conclude"] = "conclude"
    round: PositiveInt
    survivors: tuple[str, ...]
    model: Digest
    transcript: Digest | None
    since: NonNegativeInt
    proof: bytes = b""
    vote: bytes = b""


class Finish(Message):
    """Coordinator to member: the run is over; send your entries."""

    kind: Literal["finish"] = "finish"
    rounds: NonNegativeInt
    since: NonNegativeInt


class Entries(Message):
    """Member to coordinator: its signed ledger entries.

    Attributes:
        entries: Canonical bytes of each, from the requested sequence number on.
        signed: Size of the last tree head that the member cosigned; 0 before the first.
    """

    kind: Literal["entries"] = "entries"
    entries: tuple[bytes, ...]
    signed: NonNegativeInt


class ShowHead(Message):
    """Coordinator to member: a tree head of the log, with the proofs that let a member cosign it.

    Attributes:
        head: Canonical bytes of the tree head.
        consistency: Proof that it extends the last head that the member cosigned (RFC 9162).
        inclusions: For each new entry of the member: sequence number, leaf index, inclusion proof.
    """

    kind: Literal["show-head"] = "show-head"
    head: bytes
    consistency: tuple[bytes, ...]
    inclusions: tuple[tuple[NonNegativeInt, NonNegativeInt, tuple[bytes, ...]], ...]


class Countersigned(Message):
    """Member to coordinator: its cosignature of the tree head that it was shown."""

    kind: Literal["countersigned"] = "countersigned"
    signature: Annotated[bytes, Field(min_length=64, max_length=64)]


class Refused(Message):
    """Member to coordinator: its policy or its budget forbids the request.

    Attributes:
        round: Number of the round; 0 refuses the whole run.
        reason: Name of the rule, as in the ledger's entry.
        text: The rule as text, with its numbers.
        entries: The member's entries, where it does not take part in the run.
    """

    kind: Literal["refused"] = "refused"
    round: NonNegativeInt
    reason: str
    text: str
    entries: tuple[bytes, ...] = ()
