"""Checks of each member's chain of entries: nothing removed, added or reordered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from securefl.audit.bundle.case import AuditContext, LogEntry, moment_of
from securefl.audit.bundle.findings import (
    Finding,
    failed,
    lacking,
    passed,
    skipped,
    warned,
    worst_of,
)
from securefl.config.early_stopping import ends_early
from securefl.consortium.agreement.signatures import SKEW
from securefl.consortium.encoding.jcs import from_timestamp
from securefl.consortium.ledger.event_base import ZEROS
from securefl.consortium.ledger.events import (
    End,
    Outcome,
    Refusal,
    RefusedQuestion,
    Release,
    Start,
    UnseenOutcome,
)


def times_in_order(case: AuditContext) -> Finding:
    """Times are in order, none is in the future, and the agreement was in force at each."""
    agreement = case.agreement.agreement
    begins, ends = from_timestamp(agreement.created), from_timestamp(agreement.expires)

    def faults() -> Iterator[Finding]:
        last: dict[str, datetime] = {}
        for line in case.log.lines:
            try:
                time = moment_of(line.entry.time)
            except ValueError:
                yield failed(f"{line.entry.time} is no time", line.where)
                continue
            if time > case.now + SKEW:
                yield failed(f"{line.entry.time} is in the future", line.where)
            if not begins - SKEW <= time < ends + SKEW:
                yield failed(f"at {line.entry.time} the agreement was not in force", line.where)
            if time < last.get(line.member, time):
                yield failed("the entry is older than the one before it", line.where)
            last[line.member] = time
        yield from _heads_in_future(case)
        yield from _export_out_of_time(case)

    first, final = (
        (case.log.lines[0].entry.time, case.log.lines[-1].entry.time)
        if case.log.lines
        else ("", "")
    )
    return worst_of(faults(), passed(f"from {first} to {final}"))


def _heads_in_future(case: AuditContext) -> Iterator[Finding]:
    for number, linked in enumerate(case.bundle.heads):
        head = linked.head.head
        try:
            late = moment_of(head.time) > case.now + SKEW
        except ValueError:
            yield failed(f"{head.time} is no time", f"head {number}")
            continue
        if late:
            yield failed(f"{head.time} is in the future", f"head {number}")


def _export_out_of_time(case: AuditContext) -> Iterator[Finding]:
    """Yield a finding if the bundle's own time is none, in the future, or before what it holds."""
    created = case.bundle.created
    try:
        written = moment_of(created)
        held = [moment_of(line.entry.time) for line in case.log.lines]
    except ValueError:
        if _no_time(created):
            yield failed(f"{created} is no time", "created")
        return
    if written > case.now + SKEW:
        yield failed(f"{created} is in the future", "created")
    elif held and written < max(held) - SKEW:
        yield failed(f"at {created} its last entry was not yet written", "created")


def _no_time(text: str) -> bool:
    try:
        moment_of(text)
    except ValueError:
        return True
    return False


def entry_chain(case: AuditContext) -> Finding:
    """Each member's entries are numbered without gaps, and each names the digest of the last."""
    chains = case.log.by_member.values()
    faults = (fault for lines in chains for fault in _broken_links(lines))
    return worst_of(faults, passed(f"{len(case.log.by_member)} chains without a gap"))


def _broken_links(lines: Sequence[LogEntry]) -> Iterator[Finding]:
    expected, previous = 0, ZEROS
    for line in lines:
        if line.entry.sequence != expected:
            yield failed(f"the entry is number {line.entry.sequence}, not {expected}", line.where)
        elif line.entry.previous != previous:
            yield failed("the entry does not name the digest of the one before it", line.where)
        expected, previous = line.entry.sequence + 1, line.digest


def run_complete(case: AuditContext) -> Finding:
    """Each member's chain begins with its start and ends with its end; all rounds ended.

    All that were agreed, or fewer by the agreed patience.
    """
    rounds = case.agreement.agreement.config.rounds
    members, early = case.log.by_member, _ended_early(case)

    def faults() -> Iterator[Finding]:
        for lines in case.log.participants.values():
            yield from _misplaced(lines)
            yield from _false_count(lines, len(case.log.outcomes), rounds)
            # Missing and not FAIL: a run that broke off looks the same as a log that was cut.
            if not isinstance(lines[-1].entry.event, End):
                yield lacking(
                    "the end of each member's chain",
                    "the chain has no end: the run goes on, broke off, or the log was cut",
                    lines[-1].where,
                )
        absent = [name for name in case.keys if name not in members]
        if absent:
            yield lacking(
                "entries of every member", f"{absent[0]} wrote no entry at all", absent[0]
            )
        if len(case.log.outcomes) < rounds and not early:
            reason = f"{len(case.log.outcomes)} of the {rounds} agreed rounds ended"
            yield lacking("all agreed rounds", reason, "rounds")

    took_part = f"{len(case.log.participants)} of {len(members)} members took part"
    done = f"{rounds:,} rounds to the end"
    if early:
        patience = case.agreement.agreement.config.patience
        done = (
            f"ended after {len(case.log.outcomes):,} of {rounds:,} rounds, with the result of a"
            f" round that {patience} or more came after, as agreed"
        )
    return worst_of(faults(), passed(f"{took_part}, {done}"))


def _ended_early(case: AuditContext) -> bool:
    """Return whether the agreed patience allows that the run ended before its last round.

    Validation scores are in no entry: what is checked is how many rounds came after the result.
    """
    ended = {
        number: next(iter(lines.values()))[1].model_after
        for number, lines in case.log.outcomes.items()
    }
    last, result = max(ended, default=0), case.bundle.claims.model
    bests = [number for number, model in ended.items() if model == result]
    config = case.agreement.agreement.config
    return any(ends_early(config, last=last, best=number) for number in bests)


def _misplaced(lines: Sequence[LogEntry]) -> Iterator[Finding]:
    if not isinstance(lines[0].entry.event, Start):
        yield failed("the chain does not begin with a start", lines[0].where)
    for line in lines[1:]:
        if isinstance(line.entry.event, Start):
            yield failed("the member started a second time in one run", line.where)
    ended = next((i for i, line in enumerate(lines) if isinstance(line.entry.event, End)), None)
    if ended is None:
        return
    for line in lines[ended + 1 :]:
        if isinstance(line.entry.event, Release | Outcome | UnseenOutcome):
            yield failed("the member went on after its end", line.where)


def _false_count(lines: Sequence[LogEntry], ended: int, agreed: int) -> Iterator[Finding]:
    """Yield a finding if a member counts other rounds than have an outcome."""
    own = sum(isinstance(line.event, Outcome) for line in lines)
    for line in lines:
        if not isinstance(line.event, End):
            continue
        counted = line.event.rounds
        if counted > agreed:
            yield failed(f"the end counts {counted} rounds, agreed were {agreed}", line.where)
        elif counted < own:
            yield failed(f"the end counts {counted} rounds, and the chain has {own}", line.where)
        elif counted != ended:
            yield warned(f"the end counts {counted} rounds, and the log has {ended}", line.where)


def refusals_kept(case: AuditContext) -> Finding:
    """A member that refused a round released nothing in it."""
    refused = [(line, event) for line, event in case.log.of(Refusal)]

    def faults() -> Iterator[Finding]:
        for line, refusal in refused:
            for later, release in case.log.of(Release, line.member):
                after = later.entry.sequence > line.entry.sequence
                if after and refusal.round in {0, release.round}:
                    yield failed(
                        f"the member refused this round ({refusal.reason}) and released in it",
                        later.where,
                    )

    return worst_of(faults(), passed(f"{len(refused)} refusals"))


def questions_refused(case: AuditContext) -> Finding:
    """No member refused a question that its table of answers does not allow.

    Nothing left the members, so this is no fault of the run. It tells what was asked of them.
    """
    refused = (
        skipped(
            f"{line.member} refused '{event.question}' ({event.reason}), where the run stood at"
            f" '{event.phase}'",
            line.where,
        )
        for line, event in case.log.of(RefusedQuestion)
    )
    return worst_of(refused, passed("no question was refused"))
