"""The member as log witness: it countersigns only tree heads that extend the last one it signed.

The coordinator could present a split view, with different logs for different members, or delete
entries. Both require a head that does not extend the head that some member has signed, and that
member refuses it here (RFC 9162 sections 2.1.3.2 and 2.1.4.2).
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
"""Accepted lead of the coordinator's clock over the member's."""


class SplitViewError(LedgerError):
    """Raised if the log does not extend what this member signed, or lacks its entries."""

    wire_name: ClassVar[str] = "ForkError"


@dataclass(frozen=True)
class UnverifiedTreeHead:
    """A tree head with its proofs, as received from the coordinator.

    Attributes:
        head: The head's canonical bytes.
        consistency: Proof that it extends the last head which this member signed.
        inclusions: Log index and inclusion proof of each own entry since then, by sequence
            number.
    """

    head: bytes
    consistency: Sequence[bytes]
    inclusions: Mapping[int, tuple[int, Sequence[bytes]]]


def sign_head(ledger: PrivacyLedger, run: str, key: SigningKey, shown: UnverifiedTreeHead) -> bytes:
    """Verify a tree head, record it, and sign it.

    Args:
        ledger: The member's privacy ledger, which holds the last head that it signed.
        run: Run id, hex.
        key: The member's identity key.
        shown: Head and proofs from the coordinator.

    Returns:
        The signature, 64 bytes.

    Raises:
        SplitViewError: If the head does not extend the last one, or lacks an own entry.
        LedgerError: If the head is malformed, of another run, or from the future.
    """
    head = read_head(shown.head)
    last, proven = ledger.head(run)
    _check_place(head, run, last)
    _check_extends(head, last, shown.consistency)
    own = ledger.entries(run, proven)
    for sequence, entry in enumerate(own, start=proven):
        _check_included(head, sequence, entry, shown.inclusions)
    # Durable before the signature exists: a member that forgot this head in a crash could be made
    # to sign a fork of it.
    ledger.set_head(run, head, proven + len(own))
    return countersign(head, key)


def _check_place(head: TreeHead, run: str, last: TreeHead | None) -> None:
    if head.run != run:
        raise LedgerError("the head is that of another run")
    if head.time > timestamp(datetime.now(UTC) + CLOCK_SKEW):
        raise LedgerError(f"the head was made in the future ({head.time})")
    if last is not None and head.time < last.time:
        raise SplitViewError(f"the head is older ({head.time}) than the last one ({last.time})")


def _check_extends(head: TreeHead, last: TreeHead | None, proof: Sequence[bytes]) -> None:
    # A member that crashed before its signature was sent is asked for the same head again. The
    # proof then starts from the head before `last`, so equality has to take its place.
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
