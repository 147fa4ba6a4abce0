"""The coordinator's journal: every answer, in order, written before it is acted on.

The run loop is deterministic. A restarted coordinator reads its last checkpoint, asks its questions
again, and takes the answers from the journal as long as it has them; only then from members.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from securefl.consortium.ledger.sqlite import closed_on_failure, connect, usable
from securefl.ml.tensor_io import delete, read_whole, write_atomically

_SMALL = 64 << 10
"""Bytes. A longer message is in a file of its own: SQLite's WAL would write it twice."""
_WAIT_SECONDS = 5.0
"""For another process' transaction; one that was frozen in it ends it only when it is ended."""
_TABLES = """
CREATE TABLE IF NOT EXISTS coordinator (epoch TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sections (number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT);
CREATE TABLE IF NOT EXISTS events (
    place INTEGER PRIMARY KEY, section INTEGER NOT NULL, party TEXT NOT NULL,
    request TEXT NOT NULL, body BLOB, file TEXT
);
CREATE TABLE IF NOT EXISTS snapshots (done INTEGER PRIMARY KEY, state BLOB NOT NULL);
"""


@dataclass(frozen=True)
class Event:
    """An answer, or its absence.

    Attributes:
        party: The member.
        request: The id of the request.
        body: The answer; None where it did not arrive in time.
    """

    party: str
    request: str
    body: bytes | None


class CoordinatorJournal:
    """The coordinator's journal of a run.

    A section is a part of a run that is repeated as a whole after a restart, for example a round.

    Attributes:
        epoch: Drawn once for this file, so that a coordinator that lost it does not reuse ids,
            which members would take for repeated requests.
    """

    def __init__(self, directory: Path) -> None:
        """Open the journal, or create one.

        Raises:
            RunDirectoryError: If it cannot be written, or is damaged.
        """
        # synchronous=FULL: an answer is acknowledged to the broker once it is here, and is deleted
        # there, so it has to survive a power failure.
        self._directory = directory
        with self._usable():
            # In mode plain, answers are members' updates in the clear.
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._database = connect(
                directory / "coordinator.sqlite",
                *("journal_mode=WAL", "synchronous=FULL"),
                tables=_TABLES,
                timeout=_WAIT_SECONDS,
            )
            with closed_on_failure(self._database):
                self.epoch = self._epoch()
                self._repeated = self._named_sections()

    def _epoch(self) -> str:
        row = self._database.execute("SELECT epoch FROM coordinator").fetchone()
        if row is not None:
            return str(row[0])
        epoch = os.urandom(8).hex()
        self._database.execute("INSERT INTO coordinator VALUES (?)", (epoch,))
        return epoch

    def section(self, name: str) -> int:
        """Return the number of a named section; it is the same one after a restart."""
        find = "SELECT number FROM sections WHERE name = ?"
        row = self._database.execute(find, (name,)).fetchone()
        return self._numbered(name) if row is None else int(row[0])

    def repeats(self, section: int) -> bool:
        """Return whether a section is one that is repeated after a restart.

        The connection's thread asks too, and so no query is made: one that is open while the
        journal is shortened would fail that.
        """
        return section in self._repeated

    def _named_sections(self) -> frozenset[int]:
        find = "SELECT number FROM sections WHERE name IS NOT NULL"
        return frozenset(number for (number,) in self._database.execute(find).fetchall())

    def passing_section(self) -> int:
        """Return the number of a section that is not repeated; after a restart it is a new one."""
        return self._numbered(None)

    def _numbered(self, name: str | None) -> int:
        with self._usable():
            inserted = self._database.execute("INSERT INTO sections (name) VALUES (?)", (name,))
            self._repeated = self._named_sections()
        return int(inserted.lastrowid or 0)

    def record(self, section: int, events: Iterable[Event]) -> None:
        """Write events; they are durable on return.

        Raises:
            StorageFullError: If the disk is full; none of them is written then.
            RunDirectoryError: If they cannot be written for another reason.
        """
        rows = [(section, e.party, e.request, *self._kept(e)) for e in events]
        with self._usable(), self._database.transaction():
            self._database.executemany(
                "INSERT INTO events (section, party, request, body, file) VALUES (?, ?, ?, ?, ?)",
                rows,
            )

    def _kept(self, event: Event) -> tuple[bytes | None, str | None]:
        if event.body is None or len(event.body) <= _SMALL:
            return event.body, None
        name = f"{event.request}-{event.party}.message"
        write_atomically(self._directory / name, event.body, private=True)
        return None, name

    def events(self, section: int) -> list[Event]:
        """Return the events of a section, in order."""
        rows = self._database.execute(
            "SELECT party, request, body, file FROM events WHERE section = ? ORDER BY place",
            (section,),
        )
        return [
            Event(party, request, read_whole(self._directory / file) if file else body)
            for party, request, body, file in rows
        ]

    def keep_snapshot(self, done: int, state: bytes) -> None:
        """Keep the aggregator's state after `done` rounds, next to the checkpoint."""
        with self._usable():
            self._database.execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?)", (done, state))

    def snapshot(self, done: int) -> bytes | None:
        """Return the state that `keep_snapshot` kept after `done` rounds; None without one."""
        find = "SELECT state FROM snapshots WHERE done = ?"
        row = self._database.execute(find, (done,)).fetchone()
        return None if row is None else bytes(row[0])

    def forget(self, done: int) -> None:
        """Delete what led to the checkpoint after `done` rounds, which is durable."""
        rows = self._database.execute("SELECT file FROM events WHERE file IS NOT NULL")
        files = [file for (file,) in rows]
        with self._usable(), self._database.transaction():
            self._database.execute("DELETE FROM events")
            self._database.execute("DELETE FROM snapshots WHERE done < ?", (done,))
            # The newest stays, because what is answered now is in it; numbers are never reused.
            self._database.execute(
                "DELETE FROM sections WHERE number < (SELECT MAX(number) FROM sections)"
            )
        self._repeated = self._named_sections()
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for file in files:
            delete(self._directory / file)

    def _usable(self) -> AbstractContextManager[None]:
        """Translate errors of the database into one-line messages."""
        return usable(self._directory, ": the journal")

    def close(self) -> None:
        """Close the file."""
        self._database.close()
