"""A member that outlives kills and full disks: what it has to do, and what it writes first."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from itertools import chain, repeat
from typing import Protocol, TypeVar

from securefl.errors import StorageFullError, UnwritableError, UnwrittenError, disk_error
from securefl.federation import messages as m
from securefl.federation.member.journal import MemberJournal
from securefl.federation.transport.liveness import DISK_FAILS, DISK_FULL

ResultT = TypeVar("ResultT")
_log = logging.getLogger(__name__)
_PAUSES = (0.5, 1.0, 2.0, 5.0)
_PATIENCE = 2


class DurableMember(Protocol):
    """A party that can be restored from the state that it returned."""

    @property
    def vote_room(self) -> int:
        """Most bytes that votes add to what it keeps of a round."""

    def handle(self, message: bytes) -> Sequence[bytes]:
        """Return the reply to one message."""

    def following(self) -> bytes | None:
        """Return the model that follows from the last sum, as it travels."""

    def state(self) -> bytes:
        """Return what it needs between two rounds."""

    def restore(self, state: bytes) -> None:
        """Take up a `state`."""

    def begin_after_loss(self) -> None:
        """Enter no round that the ledger knows: the journal is new, and the member may not be."""

    def anew(self) -> DurableMember:
        """Return this member as it was built, with its ledger, as if it had answered nothing."""


def insist(write: Callable[[], ResultT], failed: Callable[[str], None]) -> ResultT:
    """Return what a write returns, after as many tries as it takes.

    Args:
        write: Writes to the journal or the ledger.
        failed: Is given what the member does from then on, after each try that fails; not after
            the first two, since what passes within a second or two need cost no round.

    Raises:
        UnwritableError: If nothing can be written before a person does something.
        Exception: Whatever else the write raises that no waiting changes.
    """
    for tries, pause in enumerate(chain(_PAUSES, repeat(_PAUSES[-1]))):
        try:
            return write()
        except Exception as error:
            place = getattr(error, "filename", None) or "the member's journal or ledger"
            found = disk_error(place, error)
            if not isinstance(found, UnwrittenError):
                raise found from None
            if tries >= _PATIENCE:
                failed(DISK_FULL if isinstance(found, StorageFullError) else DISK_FAILS)
            _log.error(
                "the journal cannot be written (%s: %s); waiting", type(found).__name__, found
            )
            time.sleep(pause)
    raise AssertionError("unreachable")


def raise_if_of_a_disk(failure: m.Failure) -> None:
    """Raise the error of a disk that a member's reply stands for: it is no answer.

    Raises:
        UnwrittenError: If the disk took nothing, and may later.
        UnwritableError: If a person has to do something first.
    """
    if failure.error == StorageFullError.wire_name:
        raise StorageFullError("what this member has to keep")
    for kind in (UnwrittenError, UnwritableError):
        if failure.error == kind.wire_name:
            raise kind(failure.text)


class JournalMemory:
    """An `UpdateStore` in a member's journal, encrypted, until the round is over.

    Attributes:
        replaying: See `UpdateStore`.
        newest: The name of the newest training, which outlives a snapshot: the round may be
            repeated after it, and then with the same update.
        insist: Makes a write, and waits where the disk takes none: a training is not done again
            because it could not be kept.
    """

    def __init__(self, journal: MemberJournal) -> None:
        self.replaying = False
        self.newest: str | None = None
        self.insist: Callable[[Callable[[], None]], None] = lambda write: write()
        self._journal = journal

    def recall(self, name: str) -> bytes | None:
        """See `UpdateStore.recall`."""
        training = self._journal.recall(name)
        if training is not None:
            self.newest = name
        return training

    def keep(self, name: str, training: bytes) -> None:
        """See `UpdateStore.keep`."""
        self.insist(lambda: self._journal.keep(name, training))
        self.newest = name
