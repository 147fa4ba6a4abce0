"""The coordinator's log of all members' entries: append-only, durable, and provable to everybody.

Entries stand in the order in which they arrived. A head over them (RFC 9162) goes to all members,
whose signatures on it are kept beside it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from securefl.consortium.agreement.context import Consortium
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

_VERSION = 1
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
    """What a member handed in does not continue the log."""

    wire_name: ClassVar[str] = "LogError"


def open_log(path: Path, consortium: Consortium) -> Log:
    """The log of a consortium's run.

    Raises:
        DatabaseError: If it cannot be opened, or is no log of this run.
    """
    roster = consortium.roster
    identities = dict(zip(roster.names, roster.identities, strict=True))
    return Log(path, consortium.run_id.hex(), consortium.digest().hex(), identities)


class Log(Database):
    """An open log of one run.

    Args:
        path: The file; made where there is none.
        run: Names the run, hex.
        agreement: Digest of the consortium agreement, hex.
        identities: Member to its pinned public key.

    Raises:
        DatabaseError: If it cannot be opened, or is no log of this run.
    """

    def __init__(
        self, path: Path, run: str, agreement: str, identities: Mapping[str, bytes]
    ) -> None:
        super().__init__(path, _SCHEMA, _VERSION)
        self.run = run
        self.agreement = agreement
        self._identities = identities
        self._places: dict[str, list[int]] = {name: [] for name in identities}
        self._last: dict[str, SignedEntry] = {}
        self.tree = MerkleTree()
        for data in self.entries():
            self._note(self._read(data), data)

    def entries(self) -> tuple[bytes, ...]:
        """All entries in their order, as canonical bytes."""
        return tuple(row[0] for row in self.rows("SELECT bytes FROM entries ORDER BY place"))

    def count(self, member: str) -> int:
        """How many entries of a member are in the log, which is its next sequence number."""
        return len(self._places[member])

    def places(self, member: str) -> tuple[int, ...]:
        """Where a member's entries stand, by sequence number."""
        return tuple(self._places[member])

    def append(self, member: str, entries: Iterable[bytes]) -> None:
        """Take over what a member handed in, durably.

        Raises:
            LogError: If an entry is malformed, not the member's own, or does not follow its last.
        """
        last = self._last.get(member)
        taken = []
        for data in entries:
            last = self._checked(member, data, last)
            taken.append((last, data))
        with self.transaction():
            for place, (signed, data) in enumerate(taken, start=len(self.tree)):
                self.insert(
                    "INSERT INTO entries VALUES (?, ?, ?, ?)",
                    (place, member, signed.entry.sequence, data),
                )
        for signed, data in taken:
            self._note(signed, data)

    def new_head(self) -> TreeHead:
        """The head over all entries, noted before anybody sees it.

        The head of a size is made once, so that nobody is asked to sign two.
        """
        size = len(self.tree)
        known = self.rows("SELECT bytes FROM heads WHERE size = ?", (size,))
        if known:
            return self._head(known[0][0])
        last = self.rows("SELECT bytes FROM heads ORDER BY size DESC LIMIT 1")
        # A clock that was set back must not make a head older than the one before it.
        time = max([timestamp(), *(self._head(row[0]).time for row in last)])
        head = TreeHead(run=self.run, size=size, root=self.tree.root().hex(), time=time)
        with self.transaction():
            self.insert("INSERT INTO heads VALUES (?, ?)", (size, canonical(head)))
        return head

    def countersigned(self, head: TreeHead, member: str, signature: bytes) -> None:
        """Keep a member's signature on a head.

        Raises:
            LogError: If it does not fit.
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
        """All heads with their countersignatures, by size."""
        signatures: dict[int, dict[str, str]] = {}
        for size, member, signature in self.rows("SELECT * FROM countersignatures ORDER BY member"):
            signatures.setdefault(size, {})[member] = signature.hex()
        return tuple(
            SignedHead(head=self._head(data), signatures=signatures.get(size, {}))
            for size, data in self.rows("SELECT size, bytes FROM heads ORDER BY size")
        )

    def inclusions(self, member: str, head: TreeHead) -> dict[int, tuple[int, Proof]]:
        """Place and proof, by sequence number, of what a member has not seen proven to be in."""
        places = self._places[member]
        first = bisect_left(places, self._last_signed(member))
        return {
            sequence: (places[sequence], self.tree.inclusion_proof(places[sequence], head.size))
            for sequence in range(first, bisect_left(places, head.size))
        }

    def consistency(self, member: str, signed: int, head: TreeHead) -> Proof:
        """Proof that a head extends the last one that a member signed.

        Args:
            member: The member, for the error.
            signed: Size of that head, as the member says.
            head: The new head.

        Raises:
            LogError: If the member signed more than the log has: it is not the log it was.
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
