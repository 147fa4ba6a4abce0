"""A fence between a member's journal and its ledger: no copy of the journal goes on beside it.

Every request that the journal takes moves its head, a hash chain over requests and their secret
entropy. The ledger keeps the head of the journal that was answered from last. A journal that was
restored from a backup, or that another process copied, has another head: its member would answer
again what was answered before, under keys and noise that were used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from securefl.consortium.ledger.round_records import StaleStateError

if TYPE_CHECKING:
    from securefl.consortium.ledger.member_ledger import MemberLedger
    from securefl.consortium.ledger.privacy_ledger import PrivacyLedger

TABLE = "CREATE TABLE journals (run TEXT PRIMARY KEY, head BLOB NOT NULL)"


class JournalFence:
    """The head of the one journal of a run that a member's ledger accepts.

    What it cannot see: a journal and a ledger that were both restored to the same moment. Then the
    log of the coordinator has entries that the ledger has not, and `MemberLedger.entries` says so.

    Args:
        ledger: Returns the open ledger.
        run: The run id, hex.
    """

    def __init__(self, ledger: Callable[[], PrivacyLedger], run: str) -> None:
        self._ledger = ledger
        self._run = run

    def adopt(self, head: bytes) -> None:
        """Accept a new journal, and no other from now on."""
        ledger = self._ledger()
        with ledger.transaction():
            ledger.insert("INSERT OR REPLACE INTO journals VALUES (?, ?)", (self._run, head))

    def advance(self, before: bytes, after: bytes) -> None:
        """Move the head, durably, before a request is answered.

        Also when a journal is opened: a kill may have come before its last request was noted here.

        Raises:
            StaleStateError: If the journal is not the one that was answered from last.
        """
        ledger = self._ledger()
        with ledger.transaction():
            kept = self._kept()
            if kept == before:
                ledger.insert("UPDATE journals SET head = ? WHERE run = ?", (after, self._run))
        if kept not in (before, after):
            raise self._stale()

    def _kept(self) -> bytes | None:
        rows = self._ledger().rows("SELECT head FROM journals WHERE run = ?", (self._run,))
        return rows[0][0] if rows else None

    def _stale(self) -> StaleStateError:
        return StaleStateError(
            f"the state folder of run {self._run[:16]} is not the one that {self._ledger().path}"
            " knows: one of the two was restored from a backup, or another process goes on with a"
            " copy. Nothing is answered from it. Without the folder the member goes on, in rounds"
            " that it has not been in"
        )


def fence_of(ledger: MemberLedger) -> JournalFence:
    """Return the fence of the journal of a member's run, in its ledger."""
    return JournalFence(lambda: ledger.privacy_ledger, ledger.run)
