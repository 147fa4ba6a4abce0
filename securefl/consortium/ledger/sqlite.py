"""SQLite files that survive a kill and a power cut, and say in one line what is wrong with them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from securefl.errors import InputError

_WAIT = 60.0
"""Seconds to wait for another process' transaction."""


class DatabaseError(InputError):
    """A ledger's file cannot be read or written; nothing goes on without it."""

    wire_name: ClassVar[str] = "DatabaseError"


class Database:
    """An open file: write-ahead log, synchronous=FULL, readable by its owner alone.

    Args:
        path: The file; made where there is none.
        schema: SQL that makes the tables of a new file.
        version: Of the schema.

    Raises:
        DatabaseError: If it cannot be opened, is damaged, or has another version.
    """

    def __init__(self, path: Path, schema: str, version: int) -> None:
        self.path = path
        with self._usable():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            # Used in one thread; but one that is forgotten may be closed by any.
            self._connection = sqlite3.connect(
                path, timeout=_WAIT, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
        self._prepare(schema, version)

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows that a statement gives."""
        with self._usable():
            return self._connection.execute(statement, values).fetchall()

    def insert(self, statement: str, values: Sequence[object] = ()) -> int:
        """Change something; the number of the row that was inserted last."""
        with self._usable():
            return self._connection.execute(statement, values).lastrowid or 0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, durable when it returns, and nobody else writes in between.

        Raises:
            DatabaseError: If the file is damaged, the disk full, or somebody keeps it locked.
        """
        self.rows("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.rows("ROLLBACK")
            raise
        self.rows("COMMIT")

    def damaged(self, what: object) -> DatabaseError:
        """The error for content that makes no sense."""
        return DatabaseError(f"{self.path} is damaged: {what}")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __del__(self) -> None:
        if hasattr(self, "_connection"):
            self.close()

    def _prepare(self, schema: str, version: int) -> None:
        with self.transaction():
            found = self.rows("PRAGMA user_version")[0][0]
            if found == 0:
                for statement in schema.split(";"):
                    self.insert(statement)
                self.insert(f"PRAGMA user_version = {version}")
            elif found != version:
                raise DatabaseError(f"{self.path} has version {found}, and not {version}")

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """What the database or the disk has to say, as one line."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise DatabaseError(f"cannot use {self.path}: {error}") from None
        except sqlite3.DatabaseError as error:
            raise self.damaged(error) from None
        except OSError as error:
            raise DatabaseError(f"cannot use {self.path}: {error.strerror}") from None
