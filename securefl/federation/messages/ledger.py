"""What coordinator and members say to each other about the ledger."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from securefl.federation.messages.base import Message

Digest = Annotated[bytes, Field(min_length=32, max_length=32)]


class StartRun(Message):
    """Coordinator to member: take part in this run, or refuse.

    Attributes:
        since: How many of the member's entries the coordinator has.
    """

    kind: Literal["begin"] = "begin"
    since: NonNegativeInt


class Conclude(Message):
    """Coordinator to member: this is how a round ended; hand in what you wrote of it.

    Attributes:
        survivors: Whose updates are in the sum, in roster order.
        model: Digest of the shared model that the round ended with, 32 bytes.
        transcript: Digest of the masked sum's transcript, 32 bytes; None in mode `plain`.
        since: How many of the member's entries the coordinator has.
    """

    kind: Literal["conclude"] = "conclude"
    round: PositiveInt
    survivors: tuple[str, ...]
    model: Digest
    transcript: Digest | None
    since: NonNegativeInt


class Finish(Message):
    """Coordinator to member: the run is over; hand in what you wrote."""

    kind: Literal["finish"] = "finish"
    rounds: NonNegativeInt
    since: NonNegativeInt


class Entries(Message):
    """Member to coordinator: its signed ledger entries.

    Attributes:
        entries: Canonical bytes of each, from the asked sequence number on.
        signed: Size of the last head that the member countersigned; 0 before the first.
    """

    kind: Literal["entries"] = "entries"
    entries: tuple[bytes, ...]
    signed: NonNegativeInt


class ShowHead(Message):
    """Coordinator to member: a head of the log, and why it may be signed.

    Attributes:
        head: Canonical bytes of the head.
        consistency: Proof that it extends the last head which the member signed.
        inclusions: Of each new entry of the member: sequence number, place, proof.
    """

    kind: Literal["show-head"] = "show-head"
    head: bytes
    consistency: tuple[bytes, ...]
    inclusions: tuple[tuple[NonNegativeInt, NonNegativeInt, tuple[bytes, ...]], ...]


class Countersigned(Message):
    """Member to coordinator: its signature on the head that was shown."""

    kind: Literal["countersigned"] = "countersigned"
    signature: Annotated[bytes, Field(min_length=64, max_length=64)]


class Refused(Message):
    """Member to coordinator: its policy or its budget forbids what was asked.

    Attributes:
        round: Number of the round; 0 refuses the whole run.
        reason: Which rule, as in the ledger's entry.
        text: The rule in words, with its numbers.
        entries: The member's entries, where it takes no part in the run.
    """

    kind: Literal["refused"] = "refused"
    round: NonNegativeInt
    reason: str
    text: str
    entries: tuple[bytes, ...] = ()
