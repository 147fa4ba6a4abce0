"""A member's record of the rounds that it entered and of the sums that it helped to unmask.

It stands in the member's ledger, which outlives state folders and journals: whatever copy of those
a member is started from, the ledger knows under which keys it was in a round, and for which
survivors its shares have left. Two sums of one round over different survivors would differ by
single updates, and two masked inputs under the same keys by what the masks hide.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from securefl.errors import SecureflError

if TYPE_CHECKING:
    from securefl.consortium.ledger.member_ledger import MemberLedger
    from securefl.consortium.ledger.privacy_ledger import PrivacyLedger

TABLE = """
CREATE TABLE entered (
    run TEXT NOT NULL, round INTEGER NOT NULL, session BLOB NOT NULL, message BLOB NOT NULL,
    survivors TEXT, PRIMARY KEY (run, round, session)
)
"""


_INPUT, _REPEAT = b"input", b"repeat "
_SCORED, _SCORES, _SCORE_SURVIVORS = b"scored model", b"scores", b"survivors of scores"
"""Labels of records that are of a round and of no session; a session's digest has 32 bytes."""


class StaleStateError(SecureflError):
    """The member's state is older than its ledger: a restored folder, or a copy of one."""

    wire_name: ClassVar[str] = "StaleStateError"


@dataclass(frozen=True)
class Unmasking:
    """The sums of a round that a member helped to unmask.

    Attributes:
        times: Number of sums; 0 before the first.
        survivors: The members in all of them; none before the first.
    """

    times: int
    survivors: tuple[str, ...]


class RoundRecords:
    """The record of one run in a member's ledger.

    A record survives the death of the process, and in a power failure perhaps not: after one, the
    newest journal is still there, and it is against older ones that the record is needed.

    Args:
        ledger: Returns the open ledger.
        run: The run id, hex.
    """

    def __init__(self, ledger: Callable[[], PrivacyLedger], run: str) -> None:
        self._ledger = ledger
        self._run = run

    def enter(self, number: int, session: bytes, message: bytes) -> None:
        """Record that a round is entered under the keys of a session, once.

        Args:
            number: Number of the round.
            session: Digest that identifies the session's keys.
            message: Digest of the message that is about to be sent. A restarted member computes
                the same one from its journal, and may send it again.

        Raises:
            StaleStateError: If another message was sent for it.
        """
        if self._first(number, session, message) != message:
            raise StaleStateError(
                f"round {number} was entered with these keys before, as the ledger knows: this"
                " state is an old copy, and nothing is sent from it"
            )

    def bind_input(self, number: int, update: bytes) -> None:
        """Record the input of a round, before it is masked for the first time.

        Args:
            number: Number of the round.
            update: Digest of the input, 32 bytes.

        Raises:
            StaleStateError: If the round was entered with another input, in whatever session: the
                difference of the two sums would be one member's data.
        """
        if self._first(number, _INPUT, update) != update:
            raise StaleStateError(
                f"round {number} was entered with another update before, as the ledger knows:"
                " nothing is sent from this one"
            )

    def bind_scores(self, number: int, model: bytes, scores: bytes) -> None:
        """Record what enters the exact sum of scores of a number, before it is masked.

        A coordinator that was killed before it had the sum asks again, and gets the same one.

        Args:
            number: Number of the sum.
            model: Digest of the model that is scored, 32 bytes.
            scores: Keyed digest of the member's scores, 32 bytes.

        Raises:
            StaleStateError: If the sum was entered with another model or other scores.
        """
        known = (self._first(number, _SCORED, model), self._first(number, _SCORES, scores))
        if known != (model, scores):
            raise StaleStateError(
                f"the scores of number {number} were entered with other contents before, as the"
                " ledger knows: nothing is sent from these"
            )

    def sign_scores(self, number: int, survivors: tuple[str, ...]) -> None:
        """Record that shares for a sum of scores over these survivors are about to leave."""
        self._first(number, _SCORE_SURVIVORS, json.dumps(survivors).encode())

    def score_survivors(self, number: int) -> tuple[str, ...]:
        """Return the survivors that the sum of scores of a number has; none before the first."""
        known = self._message(number, _SCORE_SURVIVORS)
        return () if known is None else tuple(json.loads(known))

    def repeated(self, number: int) -> bool:
        """Return whether the round's repeat is recorded already, since its last unmasking."""
        label = _REPEAT + str(self.unmasked(number).times).encode()
        return self._message(number, label) is not None

    def repeat(self, number: int) -> None:
        """Record that a repeat of the round stands in the ledger's entries."""
        self._first(number, _REPEAT + str(self.unmasked(number).times).encode(), b"")

    def _first(self, number: int, label: bytes, message: bytes) -> bytes:
        """Return what is recorded of a round under a label; this message where nothing was.

        Raises:
            StaleStateError: If nothing is recorded because the round is over.
        """
        ledger = self._ledger()
        with ledger.noting():
            known = self._message(number, label)
            if known is None and number < self.newest():
                raise StaleStateError(
                    f"round {number} is over, as the ledger knows: this state is an old copy, and"
                    " nothing is sent from it"
                )
            if known is None:
                ledger.insert(
                    "INSERT INTO entered VALUES (?, ?, ?, ?, NULL)",
                    (self._run, number, label, message),
                )
        return message if known is None else known

    def _message(self, number: int, label: bytes) -> bytes | None:
        rows = self._ledger().rows(
            "SELECT message FROM entered WHERE run = ? AND round = ? AND session = ?",
            (self._run, number, label),
        )
        return None if not rows else bytes(rows[0][0])

    def unmask(self, number: int, session: bytes, survivors: tuple[str, ...]) -> None:
        """Record that shares for the sum of these survivors are about to leave.

        Rounds before it are over, and what was recorded of them is deleted: `_first` refuses them
        all, whatever it was.
        """
        ledger = self._ledger()
        with ledger.noting():
            ledger.insert("DELETE FROM entered WHERE run = ? AND round < ?", (self._run, number))
            ledger.insert(
                "UPDATE entered SET survivors = ? WHERE run = ? AND round = ? AND session = ?",
                (json.dumps(survivors), self._run, number, session),
            )

    def unmasked(self, number: int) -> Unmasking:
        """Return the sums of a round that the member helped to unmask."""
        rows = self._ledger().rows(
            "SELECT survivors FROM entered WHERE run = ? AND round = ? AND survivors IS NOT NULL",
            (self._run, number),
        )
        survivors: tuple[str, ...] = tuple(json.loads(rows[0][0])) if rows else ()
        return Unmasking(len(rows), survivors)

    def newest(self) -> int:
        """Return the last round for whose sum shares have left; 0 before the first."""
        rows = self._ledger().rows(
            "SELECT MAX(round) FROM entered WHERE run = ? AND survivors IS NOT NULL", (self._run,)
        )
        return rows[0][0] or 0


def records_of(ledger: MemberLedger) -> RoundRecords:
    """Return the record of the rounds of a member's run, in its ledger."""
    return RoundRecords(lambda: ledger.privacy_ledger, ledger.run)
