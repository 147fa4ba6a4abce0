"""SQLite files that survive process and power failures, with one-line error messages."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from securefl.consortium.ledger.snapshot import copy_file
from securefl.errors import InputError, RunDirectoryError, disk_error
from securefl.untrusted.files import check_regular

_WAIT = 60.0
"""Seconds to wait for another process' transaction."""
_LOG_PAGES = 64
"""Pages of the write-ahead log after which it is taken into the file; SQLite's own 1,000 let it
grow by a hundred kilobytes a round to four megabytes."""


class Connection(sqlite3.Connection):
    """A connection with explicit transactions, which outlive a disk that fails in their middle.

    Attributes:
        left_open: Whether a transaction failed and could not be rolled back yet.
    """

    left_open = False

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run a block atomically and with exclusive write access.

        Raises:
            sqlite3.Error: If the file is damaged or locked by another process, or a disk fails.
        """
        self.undo()
        # IMMEDIATE takes the write lock before the first read: with a deferred transaction, two
        # processes could both read the same spent budget and then both add to it.
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            # A disk that fails has SQLite roll back by itself, or not even that can be done.
            self.left_open = self.in_transaction
            self.undo()
            raise

    def undo(self) -> None:
        """Roll back a transaction that failed, now or as soon as the disk lets us."""
        if self.left_open:
            self.execute("ROLLBACK")
            self.left_open = False
            self.execute("PRAGMA synchronous=FULL")  # one that was only noted had less


def connect(path: Path, *pragmas: str, tables: str = "", timeout: float = 5.0) -> Connection:
    """Open an SQLite file without implicit transactions; closed again where that fails.

    Its owner alone can read it, and what SQLite puts beside it.

    A connection that is left to the garbage collector is a warning from Python 3.13 on, and keeps
    its file locked until then.

    Args:
        path: The file; created if it does not exist.
        pragmas: What is set, like `synchronous=FULL`.
        tables: SQL that creates the tables that are missing.
        timeout: Seconds to wait for another process' transaction.

    Raises:
        sqlite3.Error: If it cannot be opened.
        OSError: If it cannot be made.
    """
    # SQLite would make it as the umask says; its journals take the mode of the file.
    path.touch(mode=0o600)
    path.chmod(0o600)
    connection = _connection(path, timeout)
    with closed_on_failure(connection):
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
        connection.executescript(tables)
    return connection


def _connection(place: Path | str, timeout: float = 5.0) -> Connection:
    # Each object is used in one thread, but the garbage collector may close it in another.
    return sqlite3.connect(
        place, timeout=timeout, isolation_level=None, check_same_thread=False, factory=Connection
    )


def loaded(path: Path, error: type[InputError]) -> Connection:
    """Return what a file holds now, in memory: nothing is written to it or in its folder.

    Raises:
        InputError: If it cannot be read.
        sqlite3.Error: If it is damaged.
    """
    with (
        TemporaryDirectory(prefix="securefl-") as folder,
        closing(connect(copy_file(path, Path(folder), error))) as copy,
    ):
        memory = _connection(":memory:")
        with closed_on_failure(memory):
            copy.backup(memory)
    return memory


@contextmanager
def closed_on_failure(connection: sqlite3.Connection) -> Iterator[None]:
    """Close a connection if the block raises: its object is then in nobody's hands."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


@contextmanager
def usable(place: object, what: str) -> Iterator[None]:
    """Translate errors of a party's own file in a run into one-line messages.

    Args:
        place: The file or its folder.
        what: What is said of it if it is no disk that fails.

    Raises:
        UnwrittenError: If the disk takes nothing now; `StorageFullError` if it is full.
        UnwritableError: If it cannot be written at all.
        RunDirectoryError: If it is damaged.
    """
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        found = disk_error(place, error)
        if found is error:
            found = RunDirectoryError(f"{place}{what} cannot be used: {error}")
        raise found from None


class DatabaseError(InputError):
    """Raised if a ledger's file cannot be read or written; the run stops."""

    wire_name: ClassVar[str] = "DatabaseError"


def _lasting(path: Path) -> Connection:
    """Open a file that other processes write as well; it is created if it does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    check_regular(path, error=DatabaseError)
    pragmas = "journal_mode=WAL", "synchronous=FULL", f"wal_autocheckpoint={_LOG_PAGES}"
    return connect(path, *pragmas, timeout=_WAIT)


class Database:
    """An open file: write-ahead log, synchronous=FULL, readable by its owner alone.

    Args:
        path: The file; created if it does not exist.
        schema: SQL that creates the tables of a new file.
        version: Version of the schema.
        upgrades: By older version, the SQL that leads to the next one.
        reading: Whether it is only read, as of now: neither it nor its folder is written to, and
            what is changed in this object is changed nowhere else.

    Raises:
        DatabaseError: If it cannot be used, is damaged, or has another version.
        UnwrittenError: If the disk takes nothing now; `StorageFullError` if it is full.
        UnwritableError: If it cannot be written at all.
    """

    def __init__(
        self,
        path: Path,
        schema: str,
        version: int,
        upgrades: Mapping[int, str] | None = None,
        *,
        reading: bool = False,
    ) -> None:
        self.path = path
        with self._usable():
            self._connection = loaded(path, DatabaseError) if reading else _lasting(path)
        with closed_on_failure(self._connection):
            self._prepare(schema, version, upgrades or {})

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Execute a statement and return its rows."""
        with self._usable():
            return self._connection.execute(statement, values).fetchall()

    def insert(self, statement: str, values: Sequence[object] = ()) -> int:
        """Execute a change and return the id of the row inserted last."""
        with self._usable():
            return self._connection.execute(statement, values).lastrowid or 0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run a block atomically, durably, and with exclusive write access.

        Raises:
            DatabaseError: If the file is damaged or locked by another process, or the disk is full.
        """
        with self._usable(), self._connection.transaction():
            yield

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Run a block as `transaction`; a power failure right after it may undo it whole.

        A fifth of a millisecond in the place of five: for records of which every round has some.
        """
        with self._usable():
            self._connection.undo()
        self.rows("PRAGMA synchronous=NORMAL")
        try:
            with self.transaction():
                yield
        finally:
            if not self._connection.left_open:  # else it is set with the rollback
                self.rows("PRAGMA synchronous=FULL")

    def damaged(self, what: object) -> DatabaseError:
        """Return the error for invalid content."""
        return DatabaseError(f"{self.path} is damaged: {what}")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __del__(self) -> None:
        if hasattr(self, "_connection"):
            self.close()

    def _prepare(self, schema: str, version: int, upgrades: Mapping[int, str]) -> None:
        with self.transaction():
            found = self.rows("PRAGMA user_version")[0][0]
            steps = [schema] if found == 0 else []
            while found and found != version:
                if found not in upgrades:
                    raise DatabaseError(f"{self.path} has version {found}, and not {version}")
                steps.append(upgrades[found])
                found += 1
            for statement in ";".join(steps).split(";") if steps else []:
                self.insert(statement)
            if steps:
                self.insert(f"PRAGMA user_version = {version}")

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """Translate errors of the database and the disk into one-line messages."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            found = disk_error(self.path, error)
            if found is error and isinstance(error, sqlite3.OperationalError):
                found = DatabaseError(f"cannot use {self.path}: {error}")
            raise (self.damaged(error) if found is error else found) from None
