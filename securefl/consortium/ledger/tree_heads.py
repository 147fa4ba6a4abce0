"""Heads of the coordinator's log, and the members' signatures on them.

A head says how many entries the log has and what they hash to (RFC 9162 section 4.10). A member
signs a head only after it has seen that it extends the last one that it signed. A log that shows
different members different entries therefore never gets all signatures on one head.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationError

from securefl.consortium.ledger.events import Count, Digest, Name, Record, Time
from securefl.consortium.ledger.hash_chain import LedgerError, canonical
from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.primitives.signing import SigningKey, verify

HEAD_LABEL = b"securefl/1/tree-head"


class TreeHead(Record):
    """The state of a log.

    Attributes:
        run: Names the run that the log is of.
        size: Number of entries.
        root: Merkle root over the first `size` entries.
        time: When the coordinator made the head, by its clock.
    """

    run: Digest
    size: Count
    root: Digest
    time: Time


class SignedHead(Record):
    """A head with the signatures of the members that countersigned it (64 bytes each, in hex)."""

    head: TreeHead
    signatures: dict[Name, Annotated[str, Field(pattern="^[0-9a-f]{128}$")]]


def countersign(head: TreeHead, key: SigningKey) -> bytes:
    """The member's Ed25519 signature over the head's canonical bytes, 64 bytes."""
    return key.sign(HEAD_LABEL, canonical(head))


def check_countersignature(head: TreeHead, signature: bytes, public: bytes, *, member: str) -> None:
    """Check a member's signature on a head against its pinned key (32 bytes).

    Raises:
        LedgerError: If it does not fit.
    """
    try:
        verify(public, signature, HEAD_LABEL, canonical(head))
    except RemoteProtocolError:
        raise LedgerError(
            f"{member}'s signature on the head of {head.size} entries does not fit"
        ) from None


def read_head(data: bytes) -> TreeHead:
    """A head from its canonical bytes.

    Raises:
        LedgerError: If the bytes are no head, or not in their one form.
    """
    try:
        head = TreeHead.model_validate_json(data)
    except ValidationError:
        raise LedgerError("this is no head of a log") from None
    if canonical(head) != data:
        raise LedgerError("the head is not in its canonical form")
    return head
