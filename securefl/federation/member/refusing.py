"""A member that takes no part, as its policy or its data forbid it: it answers with its refusal.

What it answers is in `answers.REFUSING_ANSWERS`.
"""

from __future__ import annotations

from collections.abc import Sequence

from securefl.consortium.ledger.events import QuestionRefusal, Refusal
from securefl.consortium.ledger.member_ledger import MemberLedger
from securefl.federation import messages as m
from securefl.federation.member.answer_gate import AnswerGate
from securefl.federation.member.answers import REFUSING_ANSWERS, Protection
from securefl.federation.member.replying import refused, reply_to


class RefusingMember:
    """A member that answers whether it takes part with the same refusal, and nothing else.

    Args:
        ledger: The member's ledger; the refusal becomes an entry.
        refusal: What forbids it.

    Attributes:
        ledger: See above.
    """

    def __init__(self, ledger: MemberLedger, refusal: Refusal) -> None:
        self.ledger = ledger
        self._refusal = refusal
        # Its rows are the same under every protection.
        self._gate = AnswerGate(REFUSING_ANSWERS, Protection.PLAIN, self._record_refused)

    def handle(self, message: bytes) -> Sequence[bytes]:
        """Return the refusal; other questions are refused by name."""
        return reply_to(message, self._answer)

    def _answer(self, request: m.Message) -> m.Message:
        self._gate.admit(request)
        self.ledger.refuse(self._refusal)
        return refused(self._refusal, self.ledger.entries(0))

    def _record_refused(self, question: str, phase: str, reason: QuestionRefusal) -> None:
        self.ledger.refuse(self._refusal)  # first, as it says why nothing is answered
        self.ledger.refuse_question(question, phase, reason)

    def close(self) -> None:
        """Close its ledger."""
        self.ledger.close()

    def anew(self) -> RefusingMember:
        """Return this member: what it refused is in its ledger alone."""
        return self

    def begin_after_loss(self) -> None:
        """Do nothing: it enters no round."""

    @property
    def vote_room(self) -> int:
        """None: it is in no round."""
        return 0

    def following(self) -> None:
        """Return None: it follows no model."""

    def state(self) -> bytes:
        """Return nothing: it has no state."""
        return b""

    def restore(self, state: bytes) -> None:
        """See `state`."""
