"""The privacy ledger: a member's spent budget and signed entries over all runs and tasks.

It is one SQLite file for each member, which outlives every run. A transaction that has returned
survives process and power failures (write-ahead log, synchronous=FULL). Concurrent runs share the
ledger; reading the spent budget and adding to it therefore belong to one transaction.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import astuple
from functools import lru_cache
from pathlib import Path

from pydantic import TypeAdapter

from securefl.consortium.ledger import journal_fence, round_records
from securefl.consortium.ledger.entry_packing import WHOLE, packed, unpacked
from securefl.consortium.ledger.event_base import AnyMechanism, Mechanism
from securefl.consortium.ledger.events import Entry, RefusedQuestion, SignedEntry
from securefl.consortium.ledger.hash_chain import LedgerError, canonical, read_entry
from securefl.consortium.ledger.privacy_ledger_rows import DataSet, ReleaseRow, RunRow
from securefl.consortium.ledger.sqlite import Database
from securefl.consortium.ledger.tree_heads import TreeHead, read_head

_SCHEMA = """
CREATE TABLE data_sets (id INTEGER PRIMARY KEY, pseudonym TEXT NOT NULL, label TEXT NOT NULL);
CREATE TABLE data_set_keys (key TEXT PRIMARY KEY, data_set INTEGER NOT NULL);
CREATE TABLE runs (
    run TEXT PRIMARY KEY, data_set INTEGER NOT NULL, task TEXT NOT NULL, mode TEXT NOT NULL,
    dp TEXT NOT NULL, unit TEXT, delta REAL, accountant TEXT, started TEXT NOT NULL,
    directory TEXT NOT NULL, units INTEGER NOT NULL, salt BLOB NOT NULL,
    ended INTEGER NOT NULL DEFAULT 0, head BLOB, proven INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE releases (
    id INTEGER PRIMARY KEY, data_set INTEGER NOT NULL, run TEXT NOT NULL, round INTEGER NOT NULL,
    time TEXT NOT NULL, mechanism TEXT
);
CREATE INDEX of_data_set ON releases (data_set);
CREATE TABLE entries (
    run TEXT NOT NULL, sequence INTEGER NOT NULL, kind TEXT NOT NULL, round INTEGER NOT NULL,
    time TEXT NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (run, sequence)
);
CREATE INDEX of_round ON entries (run, kind, round);
"""
_SECOND = f"{round_records.TABLE};{journal_fence.TABLE}"
"""What version 2 has in addition; a file of version 1 gets it, and keeps its charges."""
_VERSION = 3
"""Version 2 had all entries as they are, which this version reads as well."""
_RUN_COLUMNS = ", ".join(RunRow.__dataclass_fields__)
_RUN_MARKS = ", ".join("?" * len(RunRow.__dataclass_fields__))


_ANY_MECHANISM: TypeAdapter[AnyMechanism] = TypeAdapter(AnyMechanism)


@lru_cache(maxsize=1024)
def _mechanism(text: str) -> Mechanism:
    """Parse a mechanism; cached, since all rounds of a run share one and every round reads it."""
    return _ANY_MECHANISM.validate_json(text)


def book_path(folder: Path, member: str) -> Path:
    """Return the path of a member's ledger in a folder of ledgers."""
    return folder / f"{member}.sqlite"


class PrivacyLedger(Database):
    """An open privacy ledger.

    Args:
        path: The file; created if it does not exist.
        reading: Whether it is only read; see `Database`.

    Raises:
        DatabaseError: If it cannot be opened, or is not a privacy ledger.
    """

    def __init__(self, path: Path, *, reading: bool = False) -> None:
        super().__init__(path, _SCHEMA + _SECOND, _VERSION, {1: _SECOND, 2: ""}, reading=reading)

    def data_set(self, digest: str, name: str | None, label: str) -> DataSet:
        """Return the data set with a digest of its tables or a name; create it if there is none.

        Everything charged under the digest or the name counts: two data sets that turn out to be
        one are merged, with the charges of both. To be called in a transaction. The name is the
        policy's; the label stands in its place where the policy has none.
        """
        # The label is a key too: tables that grow or are read in another order have a new digest,
        # and their customers are still those of which earlier runs have spent.
        keys = [f"digest:{digest}", f"name:{name or label}"]
        found = sorted({number for key in keys for number in self._numbers(key)})
        number = found[0] if found else self._new_data_set(name or label)
        # Merging is one-way: dropping the name from a policy later must not split the account and
        # so reset what was spent.
        for other in found[1:]:
            self._merge(number, other)
        for key in keys:
            self.insert("INSERT OR IGNORE INTO data_set_keys VALUES (?, ?)", (key, number))
        if name:
            self.insert("UPDATE data_sets SET label = ? WHERE id = ?", (name, number))
        return next(one for one in self.data_sets() if one.number == number)

    def data_sets(self) -> tuple[DataSet, ...]:
        """Return all data sets, the oldest first."""
        rows = self.rows("SELECT id, pseudonym, label FROM data_sets ORDER BY id")
        return tuple(DataSet(*row) for row in rows)

    def add_run(self, row: RunRow) -> None:
        """Record the start of a run; to be called in a transaction."""
        self.insert(f"INSERT INTO runs ({_RUN_COLUMNS}) VALUES ({_RUN_MARKS})", astuple(row))  # noqa: S608 - constants

    def run(self, run: str) -> RunRow | None:
        """Return a run; None if it never started at this member."""
        rows = self.rows(f"SELECT {_RUN_COLUMNS} FROM runs WHERE run = ?", (run,))  # noqa: S608 - constants
        return RunRow(*rows[0]) if rows else None

    def runs(self) -> tuple[RunRow, ...]:
        """Return all runs, the oldest first."""
        rows = self.rows(f"SELECT {_RUN_COLUMNS} FROM runs ORDER BY rowid")  # noqa: S608 - constants
        return tuple(RunRow(*row) for row in rows)

    def add_release(self, release: ReleaseRow) -> None:
        """Charge a release; to be called in a transaction, together with its entry."""
        mechanism = release.mechanism
        text = None if mechanism is None else mechanism.model_dump_json()
        self.insert(
            "INSERT INTO releases (data_set, run, round, time, mechanism) VALUES (?, ?, ?, ?, ?)",
            (release.data_set, release.run, release.round, release.time, text),
        )

    def releases(self, data_set: int) -> tuple[ReleaseRow, ...]:
        """Return all releases from a data set, the oldest first."""
        rows = self.rows(
            "SELECT run, round, time, mechanism FROM releases WHERE data_set = ? ORDER BY id",
            (data_set,),
        )
        return tuple(
            ReleaseRow(data_set, run, number, time, self._mechanism(text))
            for run, number, time, text in rows
        )

    def spent(self, data_set: int, unit: str, run: str | None = None) -> list[Mechanism]:
        """Return all mechanisms charged to a privacy unit; equal ones merged, the latest last.

        Args:
            data_set: Number of the data set.
            unit: Privacy unit.
            run: Restrict to one run; all runs if not given.
        """
        return [one for one in self.charged(data_set, run) if one.unit == unit]

    def charged(self, data_set: int, run: str | None = None) -> list[Mechanism]:
        """Return all mechanisms charged to any privacy unit; as `spent`."""
        rows = self.rows(
            "SELECT mechanism, COUNT(*) FROM releases WHERE data_set = ?"
            " AND mechanism IS NOT NULL AND (? IS NULL OR run = ?)"
            " GROUP BY mechanism ORDER BY MAX(id)",
            (data_set, run, run),
        )
        found = [(self._mechanism(text), count) for text, count in rows]
        return [
            one.model_copy(update={"steps": one.steps * count})
            for one, count in found
            if one is not None
        ]

    def unprotected(self, data_set: int) -> int:
        """Return the number of releases from a data set without noise."""
        statement = "SELECT COUNT(*) FROM releases WHERE data_set = ? AND mechanism IS NULL"
        return int(self.rows(statement, (data_set,))[0][0])

    def add_entry(self, signed: SignedEntry) -> None:
        """Add a signed entry and update the state of its run; to be called in a transaction."""
        entry = signed.entry
        number = getattr(entry.event, "round", 0)
        stored = packed(canonical(signed), self._first(entry.run))
        self.insert(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)",
            (entry.run, entry.sequence, entry.event.kind, number, entry.time, stored),
        )
        if entry.event.kind == "end":
            self.insert("UPDATE runs SET ended = 1 WHERE run = ?", (entry.run,))

    def entries(self, run: str, since: int = 0) -> tuple[bytes, ...]:
        """Return the run's entries from a sequence number on, as canonical bytes."""
        rows = self.rows(
            "SELECT bytes FROM entries WHERE run = ? AND sequence >= ? ORDER BY sequence",
            (run, since),
        )
        first = self._first(run)
        return tuple(self._unpacked(row[0], first) for row in rows)

    def _first(self, run: str) -> list[bytes]:
        """Return the run's first entries, with which the others are packed."""
        first = "SELECT bytes FROM entries WHERE run = ? AND sequence < ? ORDER BY sequence"
        return [row[0] for row in self.rows(first, (run, WHOLE))]

    def _unpacked(self, stored: bytes, first: Sequence[bytes]) -> bytes:
        try:
            return unpacked(stored, first)
        except ValueError as error:
            raise self.damaged(error) from None

    def last_entry(self, run: str) -> Entry | None:
        """Return the run's last entry; None if there is none."""
        newest = "SELECT run, bytes FROM entries WHERE run = ? ORDER BY sequence DESC LIMIT 1"
        return next(iter(self._entries(self.rows(newest, (run,)))), None)

    def entry_of(self, run: str, kind: str, number: int) -> Entry | None:
        """Return the last entry of a kind in a round; None if there is none."""
        newest = (
            "SELECT run, bytes FROM entries WHERE run = ? AND kind = ? AND round = ?"
            " ORDER BY sequence DESC LIMIT 1"
        )
        return next(iter(self._entries(self.rows(newest, (run, kind, number)))), None)

    def refusals(self) -> tuple[Entry, ...]:
        """Return all refusals, the oldest first."""
        refused = "SELECT run, bytes FROM entries WHERE kind = 'refusal' ORDER BY time, run"
        return tuple(self._entries(self.rows(refused)))

    def refused_questions(self, run: str) -> set[str]:
        """Return the names of the questions that were refused in a run."""
        refused = "SELECT run, bytes FROM entries WHERE run = ? AND kind = 'refused-question'"
        events = [entry.event for entry in self._entries(self.rows(refused, (run,)))]
        return {event.question for event in events if isinstance(event, RefusedQuestion)}

    def head(self, run: str) -> tuple[TreeHead | None, int]:
        """Return the last countersigned tree head, and how many own entries were proven in it."""
        rows = self.rows("SELECT head, proven FROM runs WHERE run = ?", (run,))
        if not rows or rows[0][0] is None:
            return None, 0
        try:
            return read_head(rows[0][0]), rows[0][1]
        except LedgerError as error:
            raise self.damaged(error) from None

    def set_head(self, run: str, head: TreeHead, proven: int) -> None:
        """Record a countersigned tree head; to be called before its signature is sent."""
        with self.transaction():
            self.insert(
                "UPDATE runs SET head = ?, proven = ? WHERE run = ?", (canonical(head), proven, run)
            )

    def forget_entries_before(self, time: str) -> None:
        """Delete the entries of runs that ended before a time; charges are never deleted."""
        with self.transaction():
            self.insert(
                "DELETE FROM entries WHERE run IN (SELECT run FROM entries GROUP BY run"
                " HAVING MAX(time) < ? AND run IN (SELECT run FROM runs WHERE ended))",
                (time,),
            )
            # Survivors' names are in there; a run without entries is entered no more.
            self.insert("DELETE FROM entered WHERE run NOT IN (SELECT run FROM entries)")

    def _numbers(self, key: str) -> list[int]:
        rows = self.rows("SELECT data_set FROM data_set_keys WHERE key = ?", (key,))
        return [row[0] for row in rows]

    def _merge(self, number: int, other: int) -> None:
        for change in (
            "UPDATE data_set_keys SET data_set = ? WHERE data_set = ?",
            "UPDATE runs SET data_set = ? WHERE data_set = ?",
            "UPDATE releases SET data_set = ? WHERE data_set = ?",
        ):
            self.insert(change, (number, other))
        self.insert("DELETE FROM data_sets WHERE id = ?", (other,))

    def _new_data_set(self, label: str) -> int:
        return self.insert(
            "INSERT INTO data_sets (pseudonym, label) VALUES (?, ?)", (os.urandom(32).hex(), label)
        )

    def _entries(self, rows: list[tuple[str, bytes]]) -> list[Entry]:
        """Return entries of any runs, from rows of run and stored bytes."""
        first = {run: self._first(run) for run in {run for run, _ in rows}}
        try:
            return [read_entry(self._unpacked(data, first[run])).entry for run, data in rows]
        except LedgerError as error:
            raise self.damaged(error) from None

    def _mechanism(self, text: str | None) -> Mechanism | None:
        try:
            return None if text is None else _mechanism(text)
        except ValueError:
            raise self.damaged("a release without a mechanism") from None
