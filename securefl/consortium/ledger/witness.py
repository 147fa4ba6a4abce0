"""A member's check of the coordinator's log: it signs a head that it has seen to extend the last.

Whoever keeps the log could show one member one log and another member another, or drop what was
in it. Both need a head that does not extend one of the heads that somebody signed, and that
somebody refuses here (RFC 9162 sections 2.1.3.2 and 2.1.4.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from securefl.consortium.ledger.hash_chain import LedgerError, timestamp
from securefl.consortium.ledger.merkle import leaf_hash, verify_consistency, verify_inclusion
from securefl.consortium.ledger.privacy_ledger import PrivacyLedger
from securefl.consortium.ledger.tree_heads import TreeHead, countersign, read_head
from securefl_protocols.primitives.signing import SigningKey

CLOCK_SKEW = timedelta(minutes=5)
"""How far the coordinator's clock may be ahead of the member's."""


class SplitViewError(LedgerError):
    """The log does not extend the one that this member signed, or lacks its entries."""

    wire_name: ClassVar[str] = "ForkError"


@dataclass(frozen=True)
class UnverifiedTreeHead:
    """A head and what proves that it may be signed.

    Attributes:
        head: The head's canonical bytes.
        consistency: That it extends the last head which this member signed.
        inclusions: Sequence number of each own entry since then to its place and its proof.
    """

    head: bytes
    consistency: Sequence[bytes]
    inclusions: Mapping[int, tuple[int, Sequence[bytes]]]


def sign_head(book: PrivacyLedger, run: str, key: SigningKey, shown: UnverifiedTreeHead) -> bytes:
    """Check a head, note it, and sign it.

    Args:
        book: The member's book, which knows the last head that it signed.
        run: The run, hex.
        key: The member's identity key.
        shown: What the coordinator shows.

    Returns:
        The signature, 64 bytes.

    Raises:
        SplitViewError: If the head does not extend the last one, or an own entry is not in it.
        LedgerError: If the head is malformed, of another run, or from the future.
    """
    head = read_head(shown.head)
    last, proven = book.head(run)
    _check_place(head, run, last)
    _check_extends(head, last, shown.consistency)
    own = book.entries(run, proven)
    for sequence, entry in enumerate(own, start=proven):
        _check_included(head, sequence, entry, shown.inclusions)
    book.set_head(run, head, proven + len(own))
    return countersign(head, key)


def _check_place(head: TreeHead, run: str, last: TreeHead | None) -> None:
    if head.run != run:
        raise LedgerError("the head is that of another run")
    if head.time > timestamp(datetime.now(UTC) + CLOCK_SKEW):
        raise LedgerError(f"the head was made in the future ({head.time})")
    if last is not None and head.time < last.time:
        raise SplitViewError(f"the head is older ({head.time}) than the last one ({last.time})")


def _check_extends(head: TreeHead, last: TreeHead | None, proof: Sequence[bytes]) -> None:
    # A member that was killed before its signature had left is asked the same once more, with the
    # proof of before: that the head extends the one that was signed before this one.
    if last is None or last == head:
        return
    roots = bytes.fromhex(last.root), bytes.fromhex(head.root)
    if not verify_consistency(last.size, head.size, *roots, proof):
        raise SplitViewError(
            f"the log of {head.size} entries does not extend the one of {last.size} that was signed"
        )


def _check_included(
    head: TreeHead,
    sequence: int,
    entry: bytes,
    inclusions: Mapping[int, tuple[int, Sequence[bytes]]],
) -> None:
    index, proof = inclusions.get(sequence, (-1, ()))
    root = bytes.fromhex(head.root)
    if not verify_inclusion(leaf_hash(entry), index, head.size, proof, root):
        raise SplitViewError(
            f"this member's entry {sequence} is not in the log of {head.size} entries"
        )
