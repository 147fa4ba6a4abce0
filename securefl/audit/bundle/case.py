"""The audit context: indexed log entries, the valid keys, and the auditor's own inputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeVar

from securefl.audit.bundle.bundle import Bundle
from securefl.audit.bundle.model_signature import ModelSignature
from securefl.config.privacy import protects
from securefl.consortium.agreement.signatures import (
    AgreementStatus,
    SignedAgreement,
    as_it_stood,
    standing,
)
from securefl.consortium.encoding.jcs import from_timestamp
from securefl.consortium.ledger.event_base import Mechanism
from securefl.consortium.ledger.events import (
    Charging,
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
from securefl.consortium.ledger.vote_events import Vote
from securefl.errors import AgreementError
from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.primitives.signing import verify
from securefl_protocols.wire.context import labelled_digest

EventT = TypeVar("EventT", bound=Event)


moment_of = lru_cache(maxsize=1 << 15)(from_timestamp)
"""`from_timestamp`, cached: thousands of entries share few distinct times."""


def signature_valid(public: bytes, signature: str, label: bytes, content: bytes) -> bool:
    """Verify an Ed25519 signature (hex) over labelled content with a public key (32 bytes)."""
    try:
        verify(public, bytes.fromhex(signature), label, content)
    except RemoteProtocolError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry of the log, with its canonical bytes computed once.

    Attributes:
        index: Index in the log, from 0.
        signed: The entry and its signature.
        content: The signed RFC 8785 bytes.
    """

    index: int
    signed: SignedEntry
    content: bytes = field(repr=False)

    @property
    def entry(self) -> Entry:
        """Return the entry without its signature."""
        return self.signed.entry

    @property
    def member(self) -> str:
        """Return the author of the entry."""
        return self.signed.entry.member

    @property
    def where(self) -> str:
        """Return the location of the entry, for findings."""
        number = getattr(self.entry.event, "round", 0)
        of_round = f", round {number}" if number else ""
        return f"entry {self.index}: {self.member}, its own {self.entry.sequence}{of_round}"

    @property
    def digest(self) -> str:
        """Return the digest of the entry, hex: the `previous` field of the next one."""
        return labelled_digest(ENTRY_LABEL, self.content).hex()

    @property
    def leaf(self) -> bytes:
        """Return the leaf hash in the log, over the RFC 8785 bytes of entry and signature."""
        # RFC 8785 sorts keys, so this is the canonical form without serialising the entry twice.
        signature = self.signed.signature.encode()
        return leaf_hash(b'{"entry":' + self.content + b',"signature":"' + signature + b'"}')

    def signed_with(self, public: bytes) -> bool:
        """Return whether the signature is valid under a public key."""
        return signature_valid(public, self.signed.signature, ENTRY_LABEL, self.content)

    @property
    def event(self) -> Event:
        """Return the event of the entry."""
        return self.entry.event


class Log:
    """The log entries of a bundle, indexed by member, event and round."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.lines = tuple(
            LogEntry(index, signed, canonical(signed.entry))
            for index, signed in enumerate(bundle.entries)
        )

    @cached_property
    def tree(self) -> MerkleTree:
        """Return the Merkle tree over all entries."""
        return MerkleTree(line.leaf for line in self.lines)

    @cached_property
    def by_member(self) -> dict[str, list[LogEntry]]:
        """Return each member's entries in log order."""
        grouped: defaultdict[str, list[LogEntry]] = defaultdict(list)
        for line in self.lines:
            grouped[line.member].append(line)
        return dict(grouped)

    def of(
        self, kind: type[EventT], member: str | None = None
    ) -> Iterator[tuple[LogEntry, EventT]]:
        """Yield the entries with events of a type, of one member or of all, in log order."""
        lines = self.lines if member is None else self.by_member.get(member, [])
        for line in lines:
            if isinstance(line.entry.event, kind):
                yield line, line.entry.event

    @cached_property
    def starts(self) -> dict[str, tuple[LogEntry, Start]]:
        """Return each member's first start event."""
        return {line.member: (line, event) for line, event in reversed(list(self.of(Start)))}

    @cached_property
    def participants(self) -> dict[str, list[LogEntry]]:
        """Return the chains of all members, except those with nothing but refusals of the run."""
        return {
            member: lines
            for member, lines in self.by_member.items()
            if not all(isinstance(line.entry.event, Refusal) for line in lines)
        }

    @cached_property
    def releases(self) -> dict[int, list[tuple[LogEntry, Release]]]:
        """Return the releases by round."""
        grouped: defaultdict[int, list[tuple[LogEntry, Release]]] = defaultdict(list)
        for line, event in self.of(Release):
            grouped[event.round].append((line, event))
        return dict(grouped)

    def charges(self, member: str | None = None) -> Iterator[tuple[LogEntry, Mechanism]]:
        """Yield every charged mechanism: of updates, scores and ballots, in log order."""
        lines = self.lines if member is None else self.by_member.get(member, [])
        for line in lines:
            event = line.entry.event
            if isinstance(event, Charging) and event.mechanism is not None:
                yield line, event.mechanism

    @cached_property
    def votes(self) -> dict[int, dict[str, tuple[LogEntry, Vote]]]:
        """Return the vote that each member was shown, by round."""
        grouped: defaultdict[int, dict[str, tuple[LogEntry, Vote]]] = defaultdict(dict)
        for line, event in self.of(Vote):
            grouped[event.round][line.member] = (line, event)
        return dict(sorted(grouped.items()))

    def last_accepted(self, number: int) -> int:
        """Return the last round before `number` that no vote rejected; 0 without one."""
        while number > 1 and self.rejects(number - 1):
            number -= 1
        return number - 1

    def rejects(self, number: int) -> bool:
        """Return whether members recorded that their vote rejected a round's model."""
        return any(vote.rejected for _, vote in self.votes.get(number, {}).values())

    @cached_property
    def outcomes(self) -> dict[int, dict[str, tuple[LogEntry, Outcome]]]:
        """Return each member's last recorded outcome, by round."""
        grouped: defaultdict[int, dict[str, tuple[LogEntry, Outcome]]] = defaultdict(dict)
        for line, event in self.of(Outcome):
            grouped[event.round][line.member] = (line, event)
        return dict(sorted(grouped.items()))


def continues(before: SignedAgreement, after: SignedAgreement) -> bool:
    """Return whether one agreement is known from another: more statements, or its predecessor."""
    try:
        named, extends = after.digest().hex(), as_it_stood(after, before.digest().hex())
        return extends is not None or before.agreement.previous == named
    except AgreementError:
        return False


@dataclass(frozen=True, eq=False)
class OtherLog:
    """The log of a bundle beside the audited one.

    Attributes:
        log: Its entries.
        source: Its name, for findings.
        fault: Why it proves nothing in favour of the run; None if it passes an audit of its own.
        keys: The public keys that count for a name, from the agreement of the audited bundle.
    """

    log: Log
    source: str
    fault: str | None
    keys: Mapping[str, tuple[bytes, ...]]

    @property
    def own_keys(self) -> Mapping[str, tuple[bytes, ...]]:
        """Return the keys in the bundle's own agreement, which tie its entries to no party."""
        try:
            return standing(self.log.bundle.agreement).signers
        except AgreementError:
            return {}

    def authentic(self, line: LogEntry) -> bool:
        """Return whether a key that counts for its author signed an entry.

        Only such entries can lower the verdict on another bundle; anyone can invent the rest.
        """
        return any(line.signed_with(public) for public in self.keys.get(line.member, ()))


@dataclass(frozen=True, eq=False)
class AuditContext:
    """Inputs of an audit.

    Attributes:
        log: The bundle's log.
        now: Time of the audit.
        folder: Folder of the files that the bundle names; None if there are none.
        pinned: The agreement, obtained independently of the bundle.
        others: Other bundles, of the same run or of other runs on the same data, each audited.
        model: Digest of the model that the auditor was given, hex.
        model_task: The task that its file states; None where only the digest was given.
        model_layout: The digest of names and shapes in that file, hex; likewise.
        signature: The signature of its file.
    """

    log: Log
    now: datetime
    folder: Path | None = None
    pinned: SignedAgreement | None = None
    others: tuple[OtherLog, ...] = ()
    model: str | None = None
    model_task: str | None = None
    model_layout: str | None = None
    signature: ModelSignature | None = None

    @property
    def bundle(self) -> Bundle:
        """Return the audited bundle."""
        return self.log.bundle

    @cached_property
    def latest(self) -> SignedAgreement:
        """Return the agreement with every statement that is known: the auditor's own, if any.

        An agreement from the bundle could name an invented consortium, whose keys sign anything.
        It counts beside the auditor's where it is the same with more statements, each signed under
        the one before it, or the version that the auditor's replaces by its digest.
        """
        inside = self.bundle.agreement
        if self.pinned is None:
            return inside
        return inside if continues(self.pinned, inside) else self.pinned

    @property
    def replaced(self) -> bool:
        """Return whether the run was under the version that the auditor's agreement replaces."""
        if self.pinned is None or self.latest is self.pinned:
            return False
        return as_it_stood(self.latest, self.pinned.digest().hex()) is None

    @cached_property
    def agreement(self) -> SignedAgreement:
        """Return the agreement as it stood at the run, which every entry names by its digest."""
        named = self.log.lines[0].entry.agreement if self.log.lines else ""
        return as_it_stood(self.latest, named) or self.latest

    @cached_property
    def revoked(self) -> frozenset[str]:
        """Return the members whose key at the run is void by now."""
        try:
            signers = standing(self.latest).signers
        except AgreementError:
            return frozenset()
        return frozenset(
            name for name, public in self.keys.items() if public not in signers.get(name, ())
        )

    def file(self, name: str) -> Path | None:
        """Return the path of a file beside the bundle; None where it is missing."""
        path = None if self.folder is None else self.folder / name
        return path if path is not None and path.is_file() else None

    @property
    def masked(self) -> bool:
        """Return whether masked sums were agreed."""
        return self.agreement.agreement.config.mode == "secure"

    @cached_property
    def standing(self) -> AgreementStatus | None:
        """Return the current members and keys; None where the key changes are invalid."""
        try:
            return standing(self.agreement)
        except AgreementError:
            return None

    @cached_property
    def keys(self) -> Mapping[str, bytes]:
        """Return the members' public keys by name, in roster order."""
        members = self.standing.members if self.standing else ()
        return {member.name: member.public for member in members}

    @cached_property
    def parties(self) -> Mapping[str, bytes]:
        """Return the public keys of members and coordinator, by name."""
        coordinator = self.agreement.agreement.coordinator
        own = {} if coordinator is None else {coordinator.name: coordinator.public}
        return {**self.keys, **own}

    @property
    def private(self) -> bool:
        """Return whether the agreement, or any entry, claims differential privacy.

        Entries count too: a claim that was never agreed must not escape the privacy checks.
        """
        agreed = protects(self.agreement.agreement.config.privacy.dp)
        charged = any(True for _ in self.log.charges())
        return agreed or charged or any(protects(event.dp) for _, event in self.log.of(Release))
