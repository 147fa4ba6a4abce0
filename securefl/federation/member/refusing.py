"""A member whose own policy forbids the run: it reads no data and answers with its refusal."""

from __future__ import annotations

from collections.abc import Sequence

from securefl.consortium.ledger.events import Refusal
from securefl.consortium.ledger.member_ledger import MemberLedger
from securefl.consortium.ledger.policy import in_words
from securefl.errors import SecureflError
from securefl.federation import messages as m


class RefusingMember:
    """A member that answers every message with the same refusal.

    Args:
        ledger: The member's ledger; the refusal becomes an entry.
        refusal: What the policy forbids.
    """

    def __init__(self, ledger: MemberLedger, refusal: Refusal) -> None:
        self._ledger = ledger
        self._refusal = refusal

    def handle(self, message: bytes) -> Sequence[bytes]:
        """Return the refusal, whatever the message."""
        try:
            m.decode(message)
            self._ledger.refuse(self._refusal)
            reply: m.Message = refused(self._refusal, self._ledger.entries(0))
        except SecureflError as error:
            reply = m.Failure(error=error.wire_name, text=str(error))
        return [m.encode(reply)]

    def close(self) -> None:
        """Close its ledger."""
        self._ledger.close()

    def begin_after_loss(self) -> None:
        """Do nothing: it enters no round."""

    def following(self) -> None:
        """Return None: it follows no model."""

    def state(self) -> bytes:
        """Return nothing: it has no state."""
        return b""

    def restore(self, state: bytes) -> None:
        """See `state`."""


def refused(refusal: Refusal, entries: tuple[bytes, ...] = ()) -> m.Refused:
    """Return a refusal as a message."""
    return m.Refused(
        round=refusal.round, reason=refusal.reason, text=in_words(refusal), entries=entries
    )
