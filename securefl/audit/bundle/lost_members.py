"""What a member that was lost may have left unsaid: its entries travel with later answers.

A member records a release before its masked input leaves, and sends the entry with its next answer.
One that is lost in between stands in a sum and has no entry on it. That is a missing statement.
One whose chain goes on behind the round and says nothing of it contradicts the sum.
"""

from __future__ import annotations

from securefl.audit.bundle.case import AuditContext, Log, LogEntry
from securefl.consortium.ledger.events import (
    End,
    Outcome,
    Refusal,
    Release,
    ScoreRelease,
    UnseenOutcome,
)
from securefl.consortium.ledger.vote_events import Ballot, Vote
from securefl.federation.aggregation.cohort import agreed_cohort


def stops_before(log: Log, member: str, number: int) -> bool:
    """Return whether a member's chain ends before all that it records once a round is trained.

    Then its entries on the round may be missing; otherwise its chain leaves them out.
    """
    return not any(_behind(line, number) for line in log.by_member.get(member, ()))


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
            return other in {0, number}
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
