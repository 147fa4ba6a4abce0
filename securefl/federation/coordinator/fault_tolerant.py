"""Fault-tolerant exchanges: a member that is away or fails does not stop the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from securefl.errors import SecureflError
from securefl.federation import messages as m
from securefl.federation.transport.base import DeadlineExceeded
from securefl.federation.transport.exchange import AnswerT, Exchange
from securefl.untrusted.text import one_line

_log = logging.getLogger(__name__)
_WAITS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_MOST_WAITS = 720
"""With the waits, twelve hours at least; behind them, the run would stand still for good."""


class FaultTolerantExchange(Exchange):
    """An exchange that collects the answers that there are."""

    report: Callable[[str, str], None] | None = None
    """Is given each member whose answer cannot be used, with the reason."""

    def leave_out(self, party: str, error: SecureflError) -> None:
        """Go on without the answer of a party, and name it with the reason."""
        reason = one_line(str(error))
        self.failures.setdefault(party, reason)
        _log.warning("an answer of %s cannot be used: %s", party, reason)
        if self.report is not None:
            self.report(party, reason)

    def set_aside(self, error: SecureflError) -> None:
        """Go on without the result: one party alone can have spoiled it, and none is to blame."""
        _log.warning("%s", one_line(str(error)))

    def wait_for(self, parties: Sequence[str], attempt: int) -> bool:
        """See `Exchange.wait_for`: members come back, and are given hours for it."""
        if attempt >= _MOST_WAITS:
            return False
        _log.warning("the round cannot end without %s; they are asked again", ", ".join(parties))
        time.sleep(_WAITS[min(attempt, len(_WAITS) - 1)])
        return True

    def collect(self, parties: Iterable[str], kind: type[AnswerT]) -> dict[str, AnswerT]:
        """Return the next answer of each party that gives one, in the order of `parties`.

        Raises:
            DeadlineExceeded: If none does.
        """
        answers = {party: self._any(party) for party in parties}
        for party, answer in answers.items():
            _log_failure(party, answer)
        given = {party: answer for party, answer in answers.items() if isinstance(answer, kind)}
        if answers and not given:
            raise DeadlineExceeded(f"no member answered with '{kind.__name__}'")
        return given


class FailuresAsAbsence(FaultTolerantExchange):
    """An exchange that treats a failing member as absent, so that it cannot end the others' run."""

    def replies(self, requests: Mapping[str, m.Message]) -> dict[str, m.Message]:
        """See `Exchange.replies`."""
        answers = super().replies(requests)
        for party, answer in answers.items():
            if _log_failure(party, answer):
                answers[party] = m.Absent()
        return answers


def _log_failure(party: str, answer: m.Message) -> bool:
    """Log an answer that is a failure, and return whether it is one."""
    if not isinstance(answer, m.Failure):
        return False
    _log.warning("%s failed: %s, %s", party, one_line(answer.error), one_line(answer.text))
    return True
