"""A member whose own policy forbids the run: it reads no data and answers with its refusal.

What it answers is in `answers.REFUSING_ANSWERS`.
"""

from __future__ import annotations

from collections.abc import Sequence

from securefl.consortium.ledger.events import QuestionRefusal, Refusal
from securefl.consortium.ledger.member_ledger import MemberLedger
from securefl.consortium.ledger.policy import in_words
from securefl.errors import SecureflError
from securefl.federation import messages as m
from securefl.federation.member.answer_gate import AnswerGate
from securefl.federation.member.answers import REFUSING_ANSWERS, Protection


class RefusingMember:
    """A member that answers whether it takes part with the same refusal, and nothing else.

    Args:
        ledger: The member's ledger; the refusal becomes an entry.
        refusal: What the policy forbids.
    """

    def __init__(self, ledger: MemberLedger, refusal: Refusal) -> None:
        self._ledger = ledger
        self._refusal = refusal
        # Its rows are the same under every protection.
        self._gate = AnswerGate(REFUSING_ANSWERS, Protection.PLAIN, self._record_refused)

    def handle(self, message: bytes) -> Sequence[bytes]:
        """Return the policy's refusal; other questions are refused by name."""
        try:
            self._gate.admit(m.decode(message))
            self._ledger.refuse(self._refusal)
            reply: m.Message = refused(self._refusal, self._ledger.entries(0))
        except SecureflError as error:
            reply = m.Failure(error=error.wire_name, text=str(error))
        return [m.encode(reply)]

    def _record_refused(self, question: str, phase: str, reason: QuestionRefusal) -> None:
        self._ledger.refuse(self._refusal)  # first, as it says why nothing is answered
        self._ledger.refuse_question(question, phase, reason)

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
