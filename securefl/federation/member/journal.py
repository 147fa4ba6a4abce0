"""A member's journal: every request, and the entropy of its answer, written before it is answered.

A restarted member takes its last snapshot, answers the requests since then once more with the same
entropy, and is in the same state: with the same keys, shares and masks, so that no request is ever
answered in two ways. Two different answers would reuse masks or release two noises.

Secrets are under AES-256-GCM with a key of their own, and that key is under one derived from the
member's identity key. Deleting a row therefore erases what it protects, even where the disk still
has old blocks of a file (crypto-shredding).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from securefl.consortium.ledger.sqlite import closed_on_failure, connect, usable
from securefl.errors import RunDirectoryError
from securefl.ml.tensor_io import delete, read_whole, try_room, write_atomically
from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.primitives.kdf import derive_key
from securefl_protocols.primitives.sealing import NONCE_BYTES, SEAL_KEY_BYTES, seal, unseal
from securefl_protocols.wire.context import labelled_digest

LABEL = b"securefl/1/member journal"
HEAD_LABEL = b"securefl/1/journal head"
_SMALL = 64 << 10
_OWN = {".sealed", ".question"}
"""Suffixes of the files that rows name; no other part of a member uses them in this folder."""
_QUESTIONS = "SELECT id, body, file, seed FROM questions"
_ID = re.compile(r"([0-9a-f]{16})\.([0-9]{1,12})\.([0-9]{1,12})")
_TABLES = """
CREATE TABLE questions (
    place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, body BLOB, file TEXT,
    seed BLOB NOT NULL, head BLOB NOT NULL
);
CREATE TABLE progress (epoch TEXT PRIMARY KEY, section INTEGER NOT NULL, number INTEGER NOT NULL);
CREATE TABLE secrets (name TEXT PRIMARY KEY, key BLOB NOT NULL, file TEXT NOT NULL);
CREATE TABLE base (head BLOB NOT NULL);
"""
_VERSION = 2
"""Version 1 had no heads, and sessions of the first version of the protocol."""


@dataclass(frozen=True)
class Question:
    """A request as it stands in the journal.

    Attributes:
        id: Identifies it.
        body: The message.
        seed: 32 secret bytes; all entropy of the answer comes from them.
        before: Head of the journal before it, 32 bytes.
    """

    id: str
    body: bytes
    seed: bytes = field(repr=False)
    before: bytes

    @cached_property
    def head(self) -> bytes:
        """Head of the journal with it, 32 bytes; taken once, as a body can be long."""
        parts = self.before, self.id.encode(), sha256(self.body).digest(), self.seed
        return labelled_digest(HEAD_LABEL, *parts)


class MemberJournal:
    """A member's journal of one run; for one process at a time."""

    def __init__(self, directory: Path, identity: bytes, run: bytes) -> None:
        """Open the journal, or create one.

        Args:
            directory: The folder of its files.
            identity: The member's private identity key, 32 bytes.
            run: Identifies the run, 32 bytes.

        Raises:
            RunDirectoryError: If it cannot be written, see `usable`, or is of another version.
        """
        self._directory = directory
        self._key = derive_key(identity, label=LABEL, context=run)
        with usable(directory, ": the journal"):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._database = connect(
                directory / "journal.sqlite",
                *("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"),
            )
            with closed_on_failure(self._database):
                self._prepare()

    def _prepare(self) -> None:
        with self._database.transaction():
            version = self._database.execute("PRAGMA user_version").fetchone()[0]
            if version == _VERSION:
                return
            if self._database.execute("SELECT 1 FROM sqlite_master").fetchone() is not None:
                raise RunDirectoryError(
                    f"{self._directory}: the journal has version {version or 1}, and not {_VERSION}"
                )
            for statement in _TABLES.split(";"):
                self._database.execute(statement)
            self._database.execute("INSERT INTO base VALUES (?)", (os.urandom(32),))
            self._database.execute(f"PRAGMA user_version = {_VERSION}")

    @property
    def empty(self) -> bool:
        """Whether this journal has never had a request: a new member, or a lost disk."""
        seen = "SELECT 1 FROM progress UNION SELECT 1 FROM questions"
        return self._database.execute(seen).fetchone() is None

    @property
    def head(self) -> bytes:
        """A digest of all requests so far and of their entropy, 32 bytes."""
        return self._heads()[0]

    @property
    def previous(self) -> bytes:
        """The head before the last request since the snapshot; the head itself without one."""
        return self._heads()[-1]

    def _heads(self) -> list[bytes]:
        """Return the head, and the one before the last request since the snapshot."""
        newest = self._database.execute(
            "SELECT head FROM questions ORDER BY place DESC LIMIT 2"
        ).fetchall()
        base = self._database.execute("SELECT head FROM base").fetchall()
        return [row[0] for row in [*newest, *base]][:2]

    def add(self, question_id: str, body: bytes) -> Question:
        """Write a request, with fresh entropy for its answer; durable on return.

        After an error it may be called again: what a disk that fails took after all, is returned.

        Raises:
            UnwrittenError: If its file cannot be written.
            sqlite3.Error: If its row cannot be written.
        """
        _numbers(question_id)
        if (taken := self._newest()) is not None and taken.id == question_id:
            return taken
        question = Question(question_id, body, os.urandom(32), self.head)
        small, name = (body, None) if len(body) <= _SMALL else (None, f"{question_id}.question")
        if name is not None:
            write_atomically(self._directory / name, body, private=True)
        self._database.execute(
            "INSERT INTO questions (id, body, file, seed, head) VALUES (?, ?, ?, ?, ?)",
            (
                question_id,
                small,
                name,
                self._sealed(self._key, question.seed, question_id),
                question.head,
            ),
        )
        return question

    def heard(self, question_id: str) -> bool:
        """Return whether this request was written before, or is older than the last snapshot.

        Raises:
            ValueError: If the id is not of the form that the coordinator gives.
        """
        epoch, section, number = _numbers(question_id)
        since = "SELECT 1 FROM questions WHERE id = ?"
        if self._database.execute(since, (question_id,)).fetchone() is not None:
            return True
        row = self._database.execute(
            "SELECT section, number FROM progress WHERE epoch = ?", (epoch,)
        ).fetchone()
        return row is not None and (section, number) <= tuple(row)

    def questions(self) -> Iterator[Question]:
        """Yield the requests since the last snapshot, in order.

        Raises:
            RunDirectoryError: If the journal is of another key, or damaged.
        """
        rows = self._database.execute(f"{_QUESTIONS} ORDER BY place").fetchall()
        before = self._database.execute("SELECT head FROM base").fetchone()[0]
        for row in rows:
            question = self._read(row, before)
            before = question.head
            yield question

    def _newest(self) -> Question | None:
        """Return the last request since the snapshot; None without one."""
        row = self._database.execute(f"{_QUESTIONS} ORDER BY place DESC LIMIT 1").fetchone()
        return None if row is None else self._read(row, self.previous)

    def _read(self, row: tuple[str, bytes, str | None, bytes], before: bytes) -> Question:
        name, body, file, seed = row
        content = read_whole(self._directory / file) if file else body
        return Question(name, content, self._opened(self._key, seed, name), before)

    def keep(self, name: str, secret: bytes) -> None:
        """Keep a secret under a name, in the place of an earlier one."""
        key, file = os.urandom(SEAL_KEY_BYTES), f"{os.urandom(8).hex()}.sealed"
        write_atomically(self._directory / file, self._sealed(key, secret, name), private=True)
        self._database.execute(
            "INSERT OR REPLACE INTO secrets VALUES (?, ?, ?)",
            (name, self._sealed(self._key, key, file), file),
        )
        self._sweep()

    def recall(self, name: str) -> bytes | None:
        """Return the secret under a name; None without one.

        Raises:
            RunDirectoryError: If the journal is of another key, or damaged.
        """
        row = self._database.execute(
            "SELECT key, file FROM secrets WHERE name = ?", (name,)
        ).fetchone()
        if row is None:
            return None
        key = self._opened(self._key, row[0], row[1])
        return self._opened(key, read_whole(self._directory / row[1]), name)

    def snapshot(self, question_id: str, state: bytes, *, besides: str | None = None) -> None:
        """Replace the content of the journal by a state from which the member goes on.

        Args:
            question_id: The last request in the state; it and older ones are not answered again.
            state: The state.
            besides: The name of one secret that is kept; None for none.
        """
        # The new file is durable before the transaction names it, and old files are deleted after
        # it: a kill at any point leaves either the old content or the new one, whole.
        key, file = os.urandom(SEAL_KEY_BYTES), f"{os.urandom(8).hex()}.sealed"
        write_atomically(self._directory / file, self._sealed(key, state, "snapshot"), private=True)
        kept, head = None if besides is None else self._file_of(besides), self.head
        with self._database.transaction():
            self._database.execute("UPDATE base SET head = ?", (head,))
            self._database.execute("DELETE FROM questions")
            self._database.execute("DELETE FROM secrets WHERE file IS NOT ?", (kept,))
            self._database.execute(
                "INSERT OR REPLACE INTO progress VALUES (?, ?, ?)", _numbers(question_id)
            )
            self._database.execute(
                "INSERT INTO secrets VALUES (?, ?, ?)",
                ("snapshot", self._sealed(self._key, key, file), file),
            )
        self._sweep()

    def try_room(self, size: int) -> None:
        """Write so many bytes beside the journal, and delete them.

        Raises:
            UnwrittenError: If the disk does not take them.
        """
        # A sweep deletes it, should a kill leave it.
        try_room(self._directory / "room.sealed", size)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _files(self) -> set[str]:
        rows = self._database.execute(
            "SELECT file FROM questions WHERE file IS NOT NULL UNION SELECT file FROM secrets"
        )
        return {file for (file,) in rows}

    def _file_of(self, name: str) -> str | None:
        row = self._database.execute("SELECT file FROM secrets WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def _sweep(self) -> None:
        """Delete files without a row, and truncate the write-ahead log, which has deleted rows.

        Also those of a write that was cut short by a kill or a failing disk: each has a name of its
        own, and they would keep a disk full.
        """
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        named = self._files()
        for path in self._directory.iterdir():
            own = Path(path.name.removesuffix(".partial")).suffix in _OWN
            if own and path.name not in named:
                delete(path)

    @staticmethod
    def _sealed(key: bytes, secret: bytes, name: str) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + seal(key, secret, name.encode(), nonce)

    def _opened(self, key: bytes, sealed: bytes, name: str) -> bytes:
        nonce, box = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return unseal(key, box, name.encode(), nonce)
        except RemoteProtocolError:
            raise RunDirectoryError(
                f"{self._directory}: the journal is damaged, or of another key"
            ) from None


def _numbers(question_id: str) -> tuple[str, int, int]:
    """Return epoch, section and number of a question.

    Raises:
        ValueError: If the id is not of this form.
    """
    parts = _ID.fullmatch(question_id)
    if parts is None:
        raise ValueError("no id of a question")
    return parts[1], int(parts[2]), int(parts[3])
