"""The coordinator's transparency log of all members' entries: append-only, durable and provable.

Entries are kept in order of arrival. A tree head over them (RFC 9162) is sent to all members, whose
countersignatures are stored with it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from securefl.consortium.agreement.context import Consortium
from securefl.consortium.ledger.entry_packing import add_first, packed, unpacked
from securefl.consortium.ledger.events import SignedEntry
from securefl.consortium.ledger.hash_chain import (
    LedgerError,
    canonical,
    follows,
    read_entry,
    timestamp,
    verify,
)
from securefl.consortium.ledger.merkle import MerkleTree, Proof, leaf_hash
from securefl.consortium.ledger.sqlite import Database
from securefl.consortium.ledger.tree_heads import (
    SignedHead,
    TreeHead,
    check_countersignature,
    read_head,
)
from securefl.errors import InputError

_VERSION = 2
"""Version 1 had all entries as they are, which this version reads as well."""
_SCHEMA = """
CREATE TABLE entries (
    place INTEGER PRIMARY KEY, member TEXT NOT NULL, sequence INTEGER NOT NULL,
    bytes BLOB NOT NULL, UNIQUE (member, sequence)
);
CREATE TABLE heads (size INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
CREATE TABLE countersignatures (
    size INTEGER NOT NULL, member TEXT NOT NULL, signature BLOB NOT NULL,
    PRIMARY KEY (member, size)
);
"""


class LogError(InputError):
    """Raised if entries or a signature of a member do not fit the log."""

    wire_name: ClassVar[str] = "LogError"


def open_log(path: Path, consortium: Consortium, *, reading: bool = False) -> Log:
    """Open the log of a consortium's run, or only read it; see `Database`.

    Raises:
        DatabaseError: If it cannot be opened, or is not the log of this run.
    """
    roster = consortium.roster
    identities = dict(zip(roster.names, roster.identities, strict=True))
    return Log(
        path, consortium.run_id.hex(), consortium.digest().hex(), identities, reading=reading
    )


class Log(Database):
    """An open log of one run.

    Args:
        path: The file; created if it does not exist.
        run: Run id, hex.
        agreement: Digest of the consortium agreement, hex.
        identities: Pinned public key, 32 bytes, by member.
        reading: Whether it is only read; see `Database`.

    Raises:
        DatabaseError: If it cannot be opened, or is not the log of this run.
    """

    def __init__(
        self,
        path: Path,
        run: str,
        agreement: str,
        identities: Mapping[str, bytes],
        *,
        reading: bool = False,
    ) -> None:
        super().__init__(path, _SCHEMA, _VERSION, {1: ""}, reading=reading)
        self.run = run
        self.agreement = agreement
        self._identities = identities
        self._places: dict[str, list[int]] = {name: [] for name in identities}
        self._last: dict[str, SignedEntry] = {}
        self._first: dict[str, list[bytes]] = {name: [] for name in identities}
        self.tree = MerkleTree()
        for data in self.entries():
            self._note(self._read(data), data)

    def entries(self) -> tuple[bytes, ...]:
        """Return all entries in log order, as canonical bytes."""
        rows = self.rows("SELECT member, bytes FROM entries ORDER BY place")
        first: defaultdict[str, list[bytes]] = defaultdict(list)
        found = []
        for member, stored in rows:
            data = self._unpacked(stored, first[member])
            add_first(first[member], data)
            found.append(data)
        return tuple(found)

    def _unpacked(self, stored: bytes, first: list[bytes]) -> bytes:
        try:
            return unpacked(stored, first)
        except ValueError as error:
            raise self.damaged(error) from None

    def count(self, member: str) -> int:
        """Return the number of a member's entries, which is its next sequence number."""
        return len(self._places[member])

    def places(self, member: str) -> tuple[int, ...]:
        """Return the log indices of a member's entries, by sequence number."""
        return tuple(self._places[member])

    def append(self, member: str, entries: Iterable[bytes]) -> None:
        """Append a member's entries durably, all or none.

        Raises:
            LogError: If an entry is malformed, not the member's own, or does not follow its last.
        """
        last = self._last.get(member)
        # All are verified before the first is stored, so that a bad batch leaves no part behind.
        accepted = []
        for data in entries:
            last = self._checked(member, data, last)
            accepted.append((last, data))
        first = list(self._first[member])
        with self.transaction():
            for place, (signed, data) in enumerate(accepted, start=len(self.tree)):
                self.insert(
                    "INSERT INTO entries VALUES (?, ?, ?, ?)",
                    (place, member, signed.entry.sequence, packed(data, first)),
                )
                add_first(first, data)
        for signed, data in accepted:
            self._note(signed, data)

    def new_head(self) -> TreeHead:
        """Return the tree head over all entries, stored before it is sent to any member.

        The head of a given size is created once, so that members never sign two of one size, also
        when a restarted coordinator asks again.
        """
        size = len(self.tree)
        known = self.rows("SELECT bytes FROM heads WHERE size = ?", (size,))
        if known:
            return self._head(known[0][0])
        last = self.rows("SELECT bytes FROM heads ORDER BY size DESC LIMIT 1")
        # Members refuse a head older than the last one, even if only the clock was set back.
        time = max([timestamp(), *(self._head(row[0]).time for row in last)])
        head = TreeHead(run=self.run, size=size, root=self.tree.root().hex(), time=time)
        with self.transaction():
            self.insert("INSERT INTO heads VALUES (?, ?)", (size, canonical(head)))
        return head

    def countersigned(self, head: TreeHead, member: str, signature: bytes) -> None:
        """Store a member's countersignature on a tree head.

        Raises:
            LogError: If it is invalid.
        """
        try:
            check_countersignature(head, signature, self._identities[member], member=member)
        except LedgerError as error:
            raise LogError(str(error)) from None
        self.insert(
            "INSERT OR REPLACE INTO countersignatures VALUES (?, ?, ?)",
            (head.size, member, signature),
        )

    def heads(self) -> tuple[SignedHead, ...]:
        """Return the tree heads with their countersignatures, by size.

        Without those that nobody signed and that a signed one extends: a coordinator that is killed
        before it has shown a head shows a larger one when it is back, and the first says nothing.
        """
        signatures: dict[int, dict[str, str]] = {}
        for size, member, signature in self.rows("SELECT * FROM countersignatures ORDER BY member"):
            signatures.setdefault(size, {})[member] = signature.hex()
        signed = max(signatures, default=0)
        return tuple(
            SignedHead(head=self._head(data), signatures=signatures.get(size, {}))
            for size, data in self.rows("SELECT size, bytes FROM heads ORDER BY size")
            if size in signatures or size > signed
        )

    def inclusions(self, member: str, head: TreeHead) -> dict[int, tuple[int, Proof]]:
        """Return index and inclusion proof of entries not yet proven, by sequence number."""
        places = self._places[member]
        first = bisect_left(places, self._last_signed(member))
        return {
            sequence: (places[sequence], self.tree.inclusion_proof(places[sequence], head.size))
            for sequence in range(first, bisect_left(places, head.size))
        }

    def consistency(self, member: str, signed: int, head: TreeHead) -> Proof:
        """Return the proof that a tree head extends the last one that a member signed.

        Args:
            member: The member, for the error message.
            signed: Size of that head, as reported by the member.
            head: The new head.

        Raises:
            LogError: If the member signed more entries than the log has: the log lost entries.
        """
        if signed > head.size:
            raise LogError(
                f"{member} has signed a log of {signed} entries, and {self.path} has {head.size}"
            )
        return self.tree.consistency_proof(signed, head.size)

    def _last_signed(self, member: str) -> int:
        row = self.rows("SELECT MAX(size) FROM countersignatures WHERE member = ?", (member,))[0]
        return row[0] or 0

    def _checked(self, member: str, data: bytes, last: SignedEntry | None) -> SignedEntry:
        try:
            signed = read_entry(data)
            verify(signed, self._identities[member])
        except LedgerError as error:
            raise LogError(f"{member}: {error}") from None
        entry = signed.entry
        if (entry.run, entry.agreement, entry.member) != (self.run, self.agreement, member):
            raise LogError(f"{member} handed in an entry of another member, run or agreement")
        if not follows(entry, last.entry if last else None):
            raise LogError(f"{member}'s entry {entry.sequence} does not follow its last one")
        return signed

    def _note(self, signed: SignedEntry, data: bytes) -> None:
        member = signed.entry.member
        self._places[member].append(len(self.tree))
        self._last[member] = signed
        add_first(self._first[member], data)
        self.tree.append(leaf_hash(data))

    def _read(self, data: bytes) -> SignedEntry:
        try:
            signed = read_entry(data)
        except LedgerError as error:
            raise self.damaged(error) from None
        entry, last = signed.entry, self._last.get(signed.entry.member)
        if entry.run != self.run or entry.member not in self._places:
            raise self.damaged("an entry of another run")
        if not follows(entry, last.entry if last else None):
            raise self.damaged(f"{entry.member}'s entry {entry.sequence} follows nothing")
        return signed

    def _head(self, data: bytes) -> TreeHead:
        try:
            return read_head(data)
        except LedgerError as error:
            raise self.damaged(error) from None
