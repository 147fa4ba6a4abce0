"""What a member that was lost may have left unsaid: its entries travel with later answers.

A member records a release before its masked input leaves, and sends the entry with its next answer.
One that is lost in between stands in a sum and has no entry on it. That is a missing statement.
One whose chain goes on behind the round and says nothing of it contradicts the sum. So does one
that signed a head of the log behind it: a member signs none that lacks an entry of its own.
"""

from __future__ import annotations

from securefl.audit.bundle.case import AuditContext, Log, LogEntry
from securefl.consortium.ledger.events import (
    End,
    Outcome,
    Refusal,
    RefusedQuestion,
    Release,
    ScoreRelease,
    UnseenOutcome,
)
from securefl.consortium.ledger.vote_events import Ballot, Vote
from securefl.federation.aggregation.cohort import agreed_cohort

_LATER = frozenset(("after the rounds", "after the end"))
"""Phases of a run, as members record them, in which no round is trained any more."""


def stops_before(log: Log, member: str, number: int) -> bool:
    """Return whether a member's chain ends before all that it records once a round is trained.

    Then its entries on the round may be missing; otherwise its chain leaves them out.
    """
    return not any(_behind(line, number) for line in log.by_member.get(member, ()))


def signed_behind(log: Log, member: str, line: LogEntry) -> bool:
    """Return whether a member signed a head that covers an entry of another one."""
    return any(
        member in linked.head.signatures and linked.head.head.size > line.index
        for linked in log.bundle.heads
    )


def _behind(line: LogEntry, number: int) -> bool:
    """Return whether a member writes such an entry only after its release of a round, or never."""
    match line.event:
        case Release(round=other):
            return other > number
        case Outcome(round=other) | UnseenOutcome(round=other):
            return other >= number
        case Ballot(round=other) | Vote(round=other):
            return other >= number
        case Refusal(round=other):
            return other == 0 or other >= number
        case RefusedQuestion(phase=phase):
            return phase in _LATER
        case event:
            return isinstance(event, ScoreRelease | End)


def end_unsaid(case: AuditContext, number: int) -> bool:
    """Return whether how a round ended may be in an entry that a lost member did not send.

    Nobody signed it, and the chain of a member that was to take part stops before.
    """
    config, names = case.agreement.agreement.config, tuple(case.keys)
    if number in case.log.outcomes or not 1 <= number <= config.rounds:
        return False
    return any(
        stops_before(case.log, name, number) for name in agreed_cohort(config, names, number)
    )
