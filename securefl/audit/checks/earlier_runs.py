"""Check of the account against other runs on the same data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from securefl.audit.bundle.case import AuditContext, Log, LogEntry, OtherLog
from securefl.audit.bundle.findings import Finding, failed, passed, skipped, worst_of
from securefl.consortium.ledger.event_base import Mechanism
from securefl.consortium.ledger.events import Charging, End, Release

_ROUNDING = 1e-9
"""Relative tolerance for composing the same mechanisms in another order."""
_PRICED = Charging | End
"""Events that state what the account was left at."""


def earlier_runs(case: AuditContext) -> Finding:
    """The account at the start includes what other runs on the same data have spent."""
    runs = [other for other in case.others if other.log.bundle.run != case.bundle.run]
    if not runs:
        return skipped("no bundle of another run on the same data was given")

    def faults() -> Iterator[Finding]:
        for other in runs:
            yield from _forgotten(case, other)

    accounts = sum(len(_same_data(case.log, other.log)) for other in runs)
    return worst_of(faults(), passed(f"{accounts} accounts go on from run to run"))


def _forgotten(case: AuditContext, other: OtherLog) -> Iterator[Finding]:
    """Yield what another run proves to be missing from the accounts, or why it proves nothing.

    What it proves against the run is signed under keys of this agreement. In favour of the run it
    counts only as a whole: releases may be left out of a bundle that fails an audit of its own.
    """
    shared = _same_data(case.log, other.log)
    ours = [name for name in shared if other.authentic(other.log.starts[name][0])]
    found = [fault for name in ours for fault in _uncounted(case.log, other, name)]
    yield from found
    if found:
        return
    if not shared:
        yield skipped(f"{other.source} is of other data")
    elif other.fault is not None:
        yield skipped(f"nothing follows from {other.source}: {other.fault}")
    elif len(ours) < len(shared) and not _counted(case, other, shared):
        yield skipped(f"{other.source} is signed under other keys than those of this agreement")


def _counted(case: AuditContext, other: OtherLog, members: Sequence[str]) -> bool:
    """Return whether a run under other keys is in the accounts, as far as its own agreement goes.

    Where the auditor gave an agreement, no other keys count.
    """
    own = replace(other, keys=other.own_keys)
    return case.pinned is None and not any(
        True for name in members for _ in _uncounted(case.log, own, name)
    )


def _same_data(log: Log, other: Log) -> list[str]:
    """Return the members that took part in both runs with the same data.

    Two starts of one run are no two runs, whatever the file around an entry claims to be of.
    """
    return [
        member
        for member, (line, start) in log.starts.items()
        if member in other.starts
        and other.starts[member][1].data_set == start.data_set
        and other.starts[member][0].entry.run != line.entry.run
    ]


def _of_its_run(log: Log, member: str, lines: Iterable[LogEntry]) -> list[LogEntry]:
    """Return which of a member's entries are of the run that it started, one for each number.

    A signature does not say in which file an entry belongs, nor how often: anyone can add a copy,
    or what the member signed in another run.
    """
    run = log.starts[member][0].entry.run
    first: dict[int, LogEntry] = {}
    for line in lines:
        if line.entry.run == run:
            first.setdefault(line.entry.sequence, line)
    return list(first.values())


def _uncounted(one: Log, other: OtherLog, member: str) -> Iterator[Finding]:
    """Yield a finding if the later of two runs does not count what the earlier one released."""
    two = other.log
    earlier, later = sorted((one, two), key=lambda log: log.starts[member][0].entry.time)
    (_, first), (line, second) = earlier.starts[member], later.starts[member]
    # Runs may overlap in time: only what was released before the later run began is in its history.
    # Times are whole seconds: of two entries in one second it cannot be said which was first.
    counted = (e for e in earlier.by_member[member] if earlier is one or other.authentic(e))
    before = [e for e in _of_its_run(earlier, member, counted) if e.entry.time < line.entry.time]
    released = [e.event.mechanism for e in before if isinstance(e.event, Charging)]
    spent = _by_mechanism(m for m in (*first.history, *first.other_units, *released) if m)
    if steps := (spent - _by_mechanism((*second.history, *second.other_units))).total():
        yield failed(f"{steps} steps of the earlier run are not in the account", line.where)
    without = first.unprotected_before + sum(map(_without_noise, before))
    if second.unprotected_before < without:
        yield failed(
            f"{without:,} releases without noise were before, and the account counts"
            f" {second.unprotected_before:,}",
            line.where,
        )
    if (first.unit, first.delta) != (second.unit, second.delta):
        return
    left = [e.event.epsilon_after for e in before if isinstance(e.event, _PRICED)]
    most = max((epsilon for epsilon in left if epsilon is not None), default=0.0)
    if (second.epsilon_before or 0.0) < most * (1 - _ROUNDING) and first.accountant == (
        second.accountant
    ):
        yield failed(
            f"the account begins at {second.epsilon_before or 0:.4g}, and was left at {most:.4g}",
            line.where,
        )


def _without_noise(line: LogEntry) -> bool:
    """Return whether an entry records an update that no noise protects and that is no repeat."""
    event = line.event
    return isinstance(event, Release) and event.mechanism is None and event.repeat_of is None


def _by_mechanism(mechanisms: Iterable[Mechanism]) -> Counter[Mechanism]:
    steps: Counter[Mechanism] = Counter()
    for mechanism in mechanisms:
        steps[mechanism.model_copy(update={"steps": 1})] += mechanism.steps
    return steps
