"""The hash chain of signed ledger entries.

Entries are RFC 8785 canonical JSON, so that an entry has exactly one encoding and one digest.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import ClassVar

from pydantic import BaseModel, ValidationError

from securefl.consortium.encoding.jcs import canonical_bytes, to_timestamp
from securefl.consortium.ledger.event_base import ZEROS
from securefl.consortium.ledger.events import Entry, Event, SignedEntry
from securefl.errors import SecureflError
from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.primitives.signing import SigningKey
from securefl_protocols.primitives.signing import verify as verify_signature
from securefl_protocols.wire.context import labelled_digest

ENTRY_LABEL = b"securefl/1/ledger-entry"


class LedgerError(SecureflError):
    """Raised if an entry, a chain, a tree head or a proof is invalid."""

    wire_name: ClassVar[str] = "LedgerError"


def canonical(record: BaseModel) -> bytes:
    """Return the RFC 8785 bytes of a record."""
    return canonical_bytes(record.model_dump(mode="json"))


def entry_digest(entry: Entry) -> str:
    """Return the labelled SHA-256 of an entry, hex: the `previous` field of the next entry."""
    return labelled_digest(ENTRY_LABEL, canonical(entry)).hex()


def timestamp(moment: datetime | None = None) -> str:
    """Format a time as RFC 3339 in UTC to the second; the current time by default."""
    return to_timestamp(moment or datetime.now(UTC))


def later(last: Entry | None, now: str) -> str:
    """Return the time of the entry that follows `last`: now, and never before it.

    A clock that was set back in between must not make an honest log look rewritten.
    """
    return now if last is None else max(now, last.time)


def next_entry(
    last: Entry | None, event: Event, *, run: str, agreement: str, member: str, time: str
) -> Entry:
    """Return the entry that follows `last`, or the member's first one in this run."""
    return Entry(
        run=run,
        agreement=agreement,
        member=member,
        sequence=0 if last is None else last.sequence + 1,
        previous=ZEROS if last is None else entry_digest(last),
        time=time,
        event=event,
    )


def sign(entry: Entry, key: SigningKey) -> SignedEntry:
    """Return the entry with the member's Ed25519 signature over its canonical bytes."""
    return SignedEntry(entry=entry, signature=key.sign(ENTRY_LABEL, canonical(entry)).hex())


def verify(signed: SignedEntry, public: bytes) -> None:
    """Verify an entry's signature against the member's pinned key (32 bytes).

    Raises:
        LedgerError: If it is invalid.
    """
    signature = bytes.fromhex(signed.signature)
    try:
        verify_signature(public, signature, ENTRY_LABEL, canonical(signed.entry))
    except RemoteProtocolError:
        where = f"{signed.entry.member}'s entry {signed.entry.sequence}"
        raise LedgerError(f"the signature of {where} does not fit") from None


def read_entry(data: bytes) -> SignedEntry:
    """Parse a signed entry from its canonical bytes.

    Raises:
        LedgerError: If the bytes are not an entry, or not canonical.
    """
    try:
        signed = SignedEntry.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "entry"
        raise LedgerError(f"this is no ledger entry: {place}: {first['msg']}") from None
    # Another encoding of the same entry would verify and still hash to another leaf of the log.
    if canonical(signed) != data:
        raise LedgerError("the entry is not in its canonical form")
    return signed


def follows(entry: Entry, last: Entry | None) -> bool:
    """Return whether an entry continues the chain that ends with `last`."""
    if last is None:
        return entry.sequence == 0 and entry.previous == ZEROS
    same = (entry.run, entry.agreement, entry.member) == (last.run, last.agreement, last.member)
    return same and entry.sequence == last.sequence + 1 and entry.previous == entry_digest(last)


def check_chain(entries: Sequence[SignedEntry], public: bytes) -> None:
    """Verify one member's entries of one run: signatures, sequence numbers and links.

    Raises:
        LedgerError: At the first invalid entry.
    """
    last: Entry | None = None
    for signed in entries:
        verify(signed, public)
        if not follows(signed.entry, last):
            where = f"{signed.entry.member}'s entry {signed.entry.sequence}"
            raise LedgerError(f"{where} does not follow from the one before")
        last = signed.entry
