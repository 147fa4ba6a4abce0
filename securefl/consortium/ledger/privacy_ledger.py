"""A member's book: what its data have paid for, in all runs and tasks, and what it has signed.

One SQLite file a member, which outlives every run. A transaction that has returned survives a kill
and a power cut (write-ahead log, synchronous=FULL). Two runs at once share the book: whoever looks
at what is spent and adds to it does so in one transaction.
"""

from __future__ import annotations

import os
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from securefl.consortium.ledger.events import AnyMechanism, Entry, Mechanism, SignedEntry
from securefl.consortium.ledger.hash_chain import LedgerError, canonical, read_entry
from securefl.consortium.ledger.sqlite import Database
from securefl.consortium.ledger.tree_heads import TreeHead, read_head


@dataclass(frozen=True)
class RunRow:
    """A run as the book knows it.

    Attributes:
        run: Its name, hex.
        data_set: Number of the data set in this book.
        task: Name of the task.
        mode: How updates travelled.
        dp: How single units were protected.
        unit: Privacy unit; None without differential privacy.
        delta: Of the run; None without differential privacy.
        accountant: Who priced its entries.
        started: When it began here.
        directory: Where the run's files lay.
        units: Number of units; opens the commitment of the `start` entry together with `salt`.
        salt: 32 secret bytes.
        ended: Whether it came to its end, 0 or 1.
    """

    run: str
    data_set: int
    task: str
    mode: str
    dp: str
    unit: str | None
    delta: float | None
    accountant: str | None
    started: str
    directory: str
    units: int
    salt: bytes
    ended: int = 0


@dataclass(frozen=True)
class DataSet:
    """A data set as the book knows it.

    Attributes:
        number: Its number in this book.
        pseudonym: 32 random bytes in hex that stand for it in entries.
        label: What a person calls it.
    """

    number: int
    pseudonym: str
    label: str


@dataclass(frozen=True)
class ReleaseRow:
    """An update that may have left the member.

    Attributes:
        data_set: Number of the data set.
        run: The run.
        round: The round.
        time: When.
        mechanism: What it cost; None where no noise was added.
    """

    data_set: int
    run: str
    round: int
    time: str
    mechanism: Mechanism | None


_VERSION = 1
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

_RUN_COLUMNS = ", ".join(RunRow.__dataclass_fields__)
_RUN_MARKS = ", ".join("?" * len(RunRow.__dataclass_fields__))


_ANY_MECHANISM: TypeAdapter[AnyMechanism] = TypeAdapter(AnyMechanism)


@lru_cache(maxsize=1024)
def _mechanism(text: str) -> Mechanism:
    """Rounds of a run have the same mechanism, and a book is read in each of them."""
    return _ANY_MECHANISM.validate_json(text)


def book_path(folder: Path, member: str) -> Path:
    """Where a member's book lies in a folder of books."""
    return folder / f"{member}.sqlite"


class PrivacyLedger(Database):
    """An open book.

    Args:
        path: The file; made where there is none.

    Raises:
        DatabaseError: If it cannot be opened, or is no book.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _SCHEMA, _VERSION)

    def data_set(self, digest: str, name: str | None, label: str) -> DataSet:
        """The data set with a digest of its tables or a name; made where the book has none.

        Whatever once stood under the digest or the name counts: two that turn out to be one are
        joined, and what both have spent stays. To be called in a transaction.
        """
        keys = [f"digest:{digest}", *([f"name:{name}"] if name else [])]
        found = sorted({number for key in keys for number in self._numbers(key)})
        number = found[0] if found else self._new_data_set(name or label)
        for other in found[1:]:
            self._join(number, other)
        for key in keys:
            self.insert("INSERT OR IGNORE INTO data_set_keys VALUES (?, ?)", (key, number))
        if name:
            self.insert("UPDATE data_sets SET label = ? WHERE id = ?", (name, number))
        return next(one for one in self.data_sets() if one.number == number)

    def data_sets(self) -> tuple[DataSet, ...]:
        """All data sets, the oldest first."""
        rows = self.rows("SELECT id, pseudonym, label FROM data_sets ORDER BY id")
        return tuple(DataSet(*row) for row in rows)

    def add_run(self, row: RunRow) -> None:
        """Note that a run began; to be called in a transaction."""
        self.insert(f"INSERT INTO runs ({_RUN_COLUMNS}) VALUES ({_RUN_MARKS})", astuple(row))  # noqa: S608 - constants

    def run(self, run: str) -> RunRow | None:
        """A run, if it began here."""
        rows = self.rows(f"SELECT {_RUN_COLUMNS} FROM runs WHERE run = ?", (run,))  # noqa: S608 - constants
        return RunRow(*rows[0]) if rows else None

    def runs(self) -> tuple[RunRow, ...]:
        """All runs, the oldest first."""
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
        """All releases from a data set, the oldest first."""
        rows = self.rows(
            "SELECT run, round, time, mechanism FROM releases WHERE data_set = ? ORDER BY id",
            (data_set,),
        )
        return tuple(
            ReleaseRow(data_set, run, number, time, self._mechanism(text))
            for run, number, time, text in rows
        )

    def spent(self, data_set: int, unit: str, run: str | None = None) -> list[Mechanism]:
        """What a unit of a data set has paid, equal mechanisms joined, the last one last.

        Args:
            data_set: Number of the data set.
            unit: Whose presence is hidden.
            run: One run alone; all of them where not given.
        """
        rows = self.rows(
            "SELECT mechanism, COUNT(*) FROM releases WHERE data_set = ?1"
            " AND mechanism IS NOT NULL AND (?2 IS NULL OR run = ?2)"
            " GROUP BY mechanism ORDER BY MAX(id)",
            (data_set, run),
        )
        found = [(self._mechanism(text), count) for text, count in rows]
        return [
            one.model_copy(update={"steps": one.steps * count})
            for one, count in found
            if one is not None and one.unit == unit
        ]

    def unprotected(self, data_set: int) -> int:
        """How many updates left the data set without noise."""
        statement = "SELECT COUNT(*) FROM releases WHERE data_set = ? AND mechanism IS NULL"
        count: int = self.rows(statement, (data_set,))[0][0]
        return count

    def add_entry(self, signed: SignedEntry) -> None:
        """Add a signed entry and note how the run stands; to be called in a transaction."""
        entry = signed.entry
        number = getattr(entry.event, "round", 0)
        self.insert(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)",
            (entry.run, entry.sequence, entry.event.kind, number, entry.time, canonical(signed)),
        )
        if entry.event.kind == "end":
            self.insert("UPDATE runs SET ended = 1 WHERE run = ?", (entry.run,))

    def entries(self, run: str, since: int = 0) -> tuple[bytes, ...]:
        """The run's entries from a sequence number on, as canonical bytes."""
        rows = self.rows(
            "SELECT bytes FROM entries WHERE run = ? AND sequence >= ? ORDER BY sequence",
            (run, since),
        )
        return tuple(row[0] for row in rows)

    def last_entry(self, run: str) -> Entry | None:
        """The run's last entry."""
        return self._entry(
            self.rows(
                "SELECT bytes FROM entries WHERE run = ? ORDER BY sequence DESC LIMIT 1", (run,)
            )
        )

    def entry_of(self, run: str, kind: str, number: int) -> Entry | None:
        """The last entry of a kind in a round."""
        return self._entry(
            self.rows(
                "SELECT bytes FROM entries WHERE run = ? AND kind = ? AND round = ?"
                " ORDER BY sequence DESC LIMIT 1",
                (run, kind, number),
            )
        )

    def refusals(self) -> tuple[Entry, ...]:
        """All that was refused, the oldest first."""
        rows = self.rows("SELECT bytes FROM entries WHERE kind = 'refusal' ORDER BY time, run")
        return tuple(entry for row in rows if (entry := self._entry([row])) is not None)

    def head(self, run: str) -> tuple[TreeHead | None, int]:
        """The last head that was countersigned, and how many own entries were proven to be in."""
        rows = self.rows("SELECT head, proven FROM runs WHERE run = ?", (run,))
        if not rows or rows[0][0] is None:
            return None, 0
        try:
            return read_head(rows[0][0]), rows[0][1]
        except LedgerError as error:
            raise self.damaged(error) from None

    def set_head(self, run: str, head: TreeHead, proven: int) -> None:
        """Note a head before its signature leaves."""
        with self.transaction():
            self.insert(
                "UPDATE runs SET head = ?, proven = ? WHERE run = ?", (canonical(head), proven, run)
            )

    def forget_entries_before(self, time: str) -> None:
        """Drop the entries of runs that ended before a time; what was spent stays for ever."""
        with self.transaction():
            self.insert(
                "DELETE FROM entries WHERE run IN (SELECT run FROM entries GROUP BY run"
                " HAVING MAX(time) < ? AND run IN (SELECT run FROM runs WHERE ended))",
                (time,),
            )

    def _numbers(self, key: str) -> list[int]:
        rows = self.rows("SELECT data_set FROM data_set_keys WHERE key = ?", (key,))
        return [row[0] for row in rows]

    def _join(self, number: int, other: int) -> None:
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

    def _entry(self, rows: list[tuple[Any, ...]]) -> Entry | None:
        if not rows:
            return None
        try:
            return read_entry(rows[0][0]).entry
        except LedgerError as error:
            raise self.damaged(error) from None

    def _mechanism(self, text: str | None) -> Mechanism | None:
        try:
            return None if text is None else _mechanism(text)
        except ValueError:
            raise self.damaged("a release without a mechanism") from None
