"""A bundle as the checks see it: the keys that count, and the entries in every order needed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeVar

from securefl.audit.bundle.bundle import Bundle
from securefl.config.privacy import protects
from securefl.consortium.agreement.signatures import AgreementStatus, SignedAgreement, standing
from securefl.consortium.encoding.jcs import from_timestamp
from securefl.consortium.ledger.events import (
    Entry,
    Event,
    Outcome,
    Refusal,
    Release,
    SignedEntry,
    Start,
)
from securefl.consortium.ledger.hash_chain import ENTRY_LABEL, canonical
from securefl.consortium.ledger.merkle import MerkleTree, leaf_hash
from securefl.errors import AgreementError
from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.primitives.signing import verify
from securefl_protocols.wire.context import labelled_digest

EventT = TypeVar("EventT", bound=Event)


moment_of = lru_cache(maxsize=1 << 15)(from_timestamp)
"""`from_timestamp`, once for each of the few times that thousands of entries share."""


def signature_valid(public: bytes, signature: str, label: bytes, content: bytes) -> bool:
    """Whether an Ed25519 signature (hex) under a label signature_valid a key of 32 bytes."""
    try:
        verify(public, bytes.fromhex(signature), label, content)
    except RemoteProtocolError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry of the log, with its bytes computed once.

    Attributes:
        index: Its place in the log, from 0.
        signed: The entry and its signature.
        content: Its RFC 8785 bytes, which are signed.
    """

    index: int
    signed: SignedEntry
    content: bytes = field(repr=False)

    @property
    def entry(self) -> Entry:
        """The entry."""
        return self.signed.entry

    @property
    def member(self) -> str:
        """Who wrote it."""
        return self.signed.entry.member

    @property
    def where(self) -> str:
        """Where an auditor finds it."""
        number = getattr(self.entry.event, "round", 0)
        of_round = f", round {number}" if number else ""
        return f"entry {self.index}: {self.member}, its own {self.entry.sequence}{of_round}"

    @property
    def digest(self) -> str:
        """What the next entry calls `previous`."""
        return labelled_digest(ENTRY_LABEL, self.content).hex()

    @property
    def leaf(self) -> bytes:
        """Its hash in the log: the RFC 8785 bytes of entry and signature."""
        signature = self.signed.signature.encode()
        return leaf_hash(b'{"entry":' + self.content + b',"signature":"' + signature + b'"}')

    def signed_with(self, public: bytes) -> bool:
        """Whether the signature signature_valid a key."""
        return signature_valid(public, self.signed.signature, ENTRY_LABEL, self.content)


class Log:
    """A bundle's entries."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.lines = tuple(
            LogEntry(index, signed, canonical(signed.entry))
            for index, signed in enumerate(bundle.entries)
        )

    @cached_property
    def tree(self) -> MerkleTree:
        """The Merkle tree over all entries."""
        return MerkleTree(line.leaf for line in self.lines)

    @cached_property
    def by_member(self) -> dict[str, list[LogEntry]]:
        """Each member's entries in the order of the log."""
        grouped: defaultdict[str, list[LogEntry]] = defaultdict(list)
        for line in self.lines:
            grouped[line.member].append(line)
        return dict(grouped)

    def of(
        self, kind: type[EventT], member: str | None = None
    ) -> Iterator[tuple[LogEntry, EventT]]:
        """The entries with events of a kind, of a member or of all, in the order of the log."""
        lines = self.lines if member is None else self.by_member.get(member, [])
        for line in lines:
            if isinstance(line.entry.event, kind):
                yield line, line.entry.event

    @cached_property
    def starts(self) -> dict[str, tuple[LogEntry, Start]]:
        """Each member's first start."""
        return {line.member: (line, event) for line, event in reversed(list(self.of(Start)))}

    @cached_property
    def participants(self) -> dict[str, list[LogEntry]]:
        """The chains of all but those who refused the whole run, and wrote nothing else."""
        return {
            member: lines
            for member, lines in self.by_member.items()
            if not all(isinstance(line.entry.event, Refusal) for line in lines)
        }

    @cached_property
    def releases(self) -> dict[int, list[tuple[LogEntry, Release]]]:
        """Releases by round."""
        grouped: defaultdict[int, list[tuple[LogEntry, Release]]] = defaultdict(list)
        for line, event in self.of(Release):
            grouped[event.round].append((line, event))
        return dict(grouped)

    @cached_property
    def outcomes(self) -> dict[int, dict[str, tuple[LogEntry, Outcome]]]:
        """By round, each member's last word on how it ended."""
        grouped: defaultdict[int, dict[str, tuple[LogEntry, Outcome]]] = defaultdict(dict)
        for line, event in self.of(Outcome):
            grouped[event.round][line.member] = (line, event)
        return dict(sorted(grouped.items()))


@dataclass(frozen=True, eq=False)
class AuditContext:
    """What an audit has before it.

    Attributes:
        log: The bundle's entries.
        now: The auditor's clock.
        folder: Where the files beside the bundle lie; None if there are none.
        pinned: The agreement as the auditor has it from elsewhere.
        other: Another bundle, of the same run or of another one on the same data.
    """

    log: Log
    now: datetime
    folder: Path | None = None
    pinned: SignedAgreement | None = None
    other: Log | None = None

    @property
    def bundle(self) -> Bundle:
        """The bundle."""
        return self.log.bundle

    @property
    def agreement(self) -> SignedAgreement:
        """The agreement that counts: the auditor's own where there is one."""
        return self.pinned or self.bundle.agreement

    @cached_property
    def standing(self) -> AgreementStatus | None:
        """Whose keys count; None where the agreement contradicts itself."""
        try:
            return standing(self.agreement)
        except AgreementError:
            return None

    @cached_property
    def keys(self) -> Mapping[str, bytes]:
        """The members' public keys by name, in roster order."""
        members = self.standing.members if self.standing else ()
        return {member.name: member.public for member in members}

    @property
    def private(self) -> bool:
        """Whether the agreement, or any entry, claims differential privacy."""
        agreed = protects(self.agreement.agreement.config.privacy.dp)
        return agreed or any(protects(event.dp) for _, event in self.log.of(Release))
