"""A member's disk that takes nothing from a chosen write on, and a member that waits for it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, TypeVar

from securefl.consortium.ledger.sqlite import Connection
from securefl.errors import StorageFullError
from securefl.federation import messages as m
from securefl.federation.member import journal as journals
from securefl.federation.services import durable_writes
from securefl.ml import tensor_io

ResultT = TypeVar("ResultT")
WAYS = {"before": {}, "after": {"done": True}, "until the next round": {"stays": True}}
"""How a write fails: once, before or after it was done; or it and all that follow."""
_READS = ("SELECT", "PRAGMA synchronous")


class FailingDisk:
    """Counts writes, and fails at some of them.

    Attributes:
        writes: How many there were.
        at: The write that fails; None for none.
        done: Whether what failed was done nevertheless, as when a disk fails after its last block.
        stays: Whether all later writes fail as well, until `free`.
    """

    def __init__(self) -> None:
        self.writes, self.at, self.done, self.stays = 0, None, False, False
        self.failed = 0
        self._freed, self.stuck = threading.Event(), threading.Event()

    def fail(self, at: int | None, *, done: bool = False, stays: bool = False) -> None:
        """Fail at a write, counted from here."""
        self.writes, self.at, self.done, self.stays, self.failed = 0, at, done, stays, 0
        self._freed.clear()
        self.stuck.clear()

    def free(self) -> None:
        """Take everything again."""
        self.at = None
        self._freed.set()

    def write(
        self, call: Callable[[], ResultT], error: Callable[[], Exception], *, whole: bool = False
    ) -> ResultT:
        """Do a write, or fail at it; one that is `whole` never fails after it was done."""
        self.writes += 1
        if self.at is None or self.writes < self.at or (self.failed and not self.stays):
            return call()
        self.failed += 1
        if self.done and not whole and self.failed == 1:
            call()
        raise error()

    def sleep(self, seconds: float) -> None:
        """Stand in for the pause before another try: it is over once there is room."""
        del seconds
        if self.stays and self.at is not None:
            self.stuck.set()
            assert self._freed.wait(30)


class _Failing(Connection):
    """A connection to a database on that disk."""

    disk: FailingDisk

    def execute(self, statement: str, *values: Any) -> Any:
        """Execute a statement; one that writes counts."""
        do = super().execute
        if statement.startswith(_READS):
            return do(statement, *values)
        never_half = statement.startswith("BEGIN")
        return self.disk.write(lambda: do(statement, *values), _full, whole=never_half)


def _full() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = 778  # SQLITE_IOERR_WRITE
    return error


@contextmanager
def on_failing_disk(party, monkeypatch):
    """Put journal, ledger and files of a `ProcessParty` on such a disk; all parties wait there."""
    disk = FailingDisk()

    def put() -> None:
        ledger = party.member.ledger
        ledger = getattr(ledger, "privacy_ledger", ledger)
        for connection in (party.journal._database, ledger._connection):
            connection.__class__, connection.disk = _Failing, disk

    honest = journals.write_atomically
    own = {party.folder, getattr(party.member, "directory", party.folder)}

    def write(path, content, *, private=False):
        if path.parent not in own:
            return honest(path, content, private=private)
        return disk.write(
            lambda: honest(path, content, private=private), lambda: StorageFullError(path)
        )

    with monkeypatch.context() as patch:
        for module in (journals, tensor_io):
            patch.setattr(module, "write_atomically", write)
        patch.setattr(durable_writes, "time", SimpleNamespace(sleep=disk.sleep))
        disk.put = put
        put()
        yield disk


class Waiting:
    """A party on that disk, which answers nothing while it waits for room; the others go on."""

    def __init__(self, party, disk: FailingDisk) -> None:
        self.party, self._disk = party, disk
        self._thread: threading.Thread | None = None
        self._errors: list[Exception] = []

    def handle(self, message: bytes) -> Sequence[bytes]:
        """Return the answer; what stands for none while the member waits."""
        if self._thread is not None:
            return [m.encode(m.Absent())]
        answers: list[bytes] = []

        def answer() -> None:
            try:
                answers.extend(self.party.handle(message))
            except Exception as error:
                self._errors.append(error)
            finally:
                self._disk.stuck.set()

        self._disk.stuck.clear()
        self._thread = threading.Thread(target=answer, daemon=True)
        self._thread.start()
        assert self._disk.stuck.wait(30)
        if self._disk.stays and self._disk.at is not None and self._disk.failed:
            return [m.encode(m.Absent())]
        self.end()
        return answers

    def end(self) -> None:
        """Wait for the answer that the member is at."""
        if self._thread is not None:
            self._thread.join(30)
            assert not self._thread.is_alive()
            self._thread = None
        if self._errors:
            raise self._errors.pop()

    def close(self) -> None:
        """Close the party."""
        self.party.close()
