"""Tree heads of the coordinator's log, and the members' countersignatures.

A tree head states the size of the log and its Merkle root (RFC 9162 section 4.10). A member signs a
head only if it extends the last head that it signed. A log that presents a split view therefore
never collects all signatures on one head.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationError

from securefl.consortium.ledger.event_base import Count, Digest, Name, Record, Time
from securefl.consortium.ledger.hash_chain import LedgerError, canonical
from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.primitives.signing import SigningKey, verify

HEAD_LABEL = b"securefl/1/tree-head"


class TreeHead(Record):
    """The state of a log.

    Attributes:
        run: Run id, hex.
        size: Number of entries.
        root: Merkle root over the first `size` entries.
        time: Time of creation, by the coordinator's clock.
    """

    run: Digest
    size: Count
    root: Digest
    time: Time


class SignedHead(Record):
    """A tree head with its countersignatures by member (64 bytes each, in hex)."""

    head: TreeHead
    signatures: dict[Name, Annotated[str, Field(pattern="^[0-9a-f]{128}$")]]


def countersign(head: TreeHead, key: SigningKey) -> bytes:
    """Return the member's Ed25519 signature over the head's canonical bytes, 64 bytes."""
    return key.sign(HEAD_LABEL, canonical(head))


def check_countersignature(head: TreeHead, signature: bytes, public: bytes, *, member: str) -> None:
    """Verify a member's signature on a head against its pinned key (32 bytes).

    Raises:
        LedgerError: If it is invalid.
    """
    try:
        verify(public, signature, HEAD_LABEL, canonical(head))
    except RemoteProtocolError:
        raise LedgerError(
            f"{member}'s signature on the head of {head.size} entries does not fit"
        ) from None


def read_head(data: bytes) -> TreeHead:
    """Parse a tree head from its canonical bytes.

    Raises:
        LedgerError: If the bytes are not a tree head, or not canonical.
    """
    try:
        head = TreeHead.model_validate_json(data)
    except ValidationError:
        raise LedgerError("this is no head of a log") from None
    if canonical(head) != data:
        raise LedgerError("the head is not in its canonical form")
    return head
