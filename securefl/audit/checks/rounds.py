"""Checks of the rounds: cohorts, releases, survivors, outcomes and models."""

from __future__ import annotations

from collections.abc import Iterator

from securefl.audit.bundle.case import AuditContext, LogEntry, moment_of
from securefl.audit.bundle.findings import Finding, failed, lacking, passed, warned, worst_of
from securefl.audit.bundle.lost_members import signed_behind, stops_before
from securefl.audit.checks.needs import OUTCOMES
from securefl.config.cohort import least_survivors
from securefl.consortium.agreement.signatures import SKEW
from securefl.consortium.ledger.events import Outcome, Release, UnseenOutcome
from securefl.federation.aggregation.cohort import agreed_cohort


def releases_in_order(case: AuditContext) -> Finding:
    """A member's rounds are in order; a repeated release is the same update, or charged again."""

    def faults() -> Iterator[Finding]:
        for member in case.log.by_member:
            seen: dict[int, tuple[LogEntry, Release]] = {}
            first: dict[int, int] = {}
            for line, release in case.log.of(Release, member):
                if release.round < max(first, default=0):
                    yield failed("the member went back to an earlier round", line.where)
                yield from _repeated(line, release, seen, first)
                seen[line.entry.sequence] = (line, release)
                first.setdefault(release.round, line.entry.sequence)

    count = sum(len(releases) for releases in case.log.releases.values())
    return worst_of(faults(), passed(f"{count:,} releases, round by round"))


def _repeated(
    line: LogEntry,
    release: Release,
    seen: dict[int, tuple[LogEntry, Release]],
    first: dict[int, int],
) -> Iterator[Finding]:
    if release.repeat_of is None:
        # Sums that hold different updates of one member can be subtracted. In mode plain the
        # coordinator sees every update anyway.
        if release.round in first and release.mechanism is None and release.mode == "secure":
            yield warned(
                "a second update without noise left in one round: two sums may tell them apart",
                line.where,
            )
        return
    _, repeated = seen.get(release.repeat_of, (None, None))
    if repeated is None or repeated.round != release.round:
        yield failed(f"entry {release.repeat_of} is no earlier release of this round", line.where)
    elif repeated.model_before != release.model_before:
        yield failed("the repeat starts from another model, so it is no repeat", line.where)


def rounds_agreed(case: AuditContext) -> Finding:
    """Every outcome is of an agreed round, one for each round and member, in order; one sum each.

    A second outcome of a round would be a second model for some members, or a second sum over the
    same updates: two sums that differ in one member show what that member sent.
    """
    last = case.agreement.agreement.config.rounds

    def faults() -> Iterator[Finding]:
        for member in case.log.by_member:
            before = 0
            for line, outcome in case.log.of(Outcome, member):
                number = outcome.round
                if not 1 <= number <= last:
                    yield failed(f"round {number} was not agreed: {last} rounds were", line.where)
                elif number == before:
                    yield failed("the member signed two outcomes of one round", line.where)
                elif number < before:
                    yield failed("the outcome is of an earlier round", line.where)
                before = max(before, number)
        for line, unseen in case.log.of(UnseenOutcome):
            if unseen.round > last:
                yield failed(f"round {unseen.round} was not agreed", line.where)
        yield from _sums_used_twice(case)

    return worst_of(
        faults(), passed(f"{len(case.log.outcomes):,} of {last:,} rounds, one sum each")
    )


def _sums_used_twice(case: AuditContext) -> Iterator[Finding]:
    """Yield the outcomes whose transcript belongs to another round, or to none."""
    of_round: dict[str, int] = {}
    for line, outcome in case.log.of(Outcome):
        if outcome.transcript is None:
            continue
        if not case.masked:
            yield failed("nothing was to be masked, and there is a transcript", line.where)
        elif of_round.setdefault(outcome.transcript, outcome.round) != outcome.round:
            yield failed("one sum stands for two rounds", line.where)


def releases_recorded(case: AuditContext) -> Finding:
    """Every survivor of a round recorded its release before the round ended.

    One that was lost behind the sum sent no entry any more, so that its release is missing.
    """
    released: dict[tuple[str, int], LogEntry] = {}
    for line, release in case.log.of(Release):
        released.setdefault((line.member, release.round), line)

    def faults() -> Iterator[Finding]:
        for line, outcome in case.log.of(Outcome):
            for member in outcome.survivors:
                first = released.get((member, outcome.round))
                if first is None:
                    yield _no_release(case, member, outcome.round, line)
                elif _later(first, line):
                    yield failed("the release was recorded after the round", first.where)

    return worst_of(faults(), passed(f"{len(released):,} releases cover all survivors"))


def _no_release(case: AuditContext, member: str, number: int, line: LogEntry) -> Finding:
    """Return the finding on a survivor without a release: missing if its chain stops before."""
    if signed_behind(case.log, member, line):
        reason = f"{member} is in the sum, and signed a head of the log without its release"
        return failed(reason, line.where)
    if stops_before(case.log, member, number):
        reason = f"{member} is in the sum, and its entries stop before"
        return lacking("releases of every survivor", reason, line.where)
    return failed(f"{member} is in the sum and recorded no release", line.where)


def _later(release: LogEntry, outcome: LogEntry) -> bool:
    """Return whether a release was recorded after an outcome.

    Within one member the chain decides. Between two members it is their clocks, up to the accepted
    skew: the position in the log says nothing, since entries may arrive late.
    """
    if release.member == outcome.member:
        return release.entry.sequence > outcome.entry.sequence
    try:
        difference = moment_of(release.entry.time) - moment_of(outcome.entry.time)
    except ValueError:
        return False  # reported by `times_in_order`
    return difference > SKEW


def cohort_agreed(case: AuditContext) -> Finding:
    """Each round's cohort is the one that the agreement fixes, and the member is in it."""
    config, names = case.agreement.agreement.config, tuple(case.keys)

    def faults() -> Iterator[Finding]:
        for number, releases in case.log.releases.items():
            if not 1 <= number <= config.rounds:
                yield failed(f"round {number} was not agreed", releases[0][0].where)
                continue
            cohort = agreed_cohort(config, names, number)
            for line, release in releases:
                if release.cohort != cohort:
                    yield failed("this is not the cohort that was agreed", line.where)
                elif line.member not in cohort:
                    yield failed("the member is not in the cohort", line.where)

    return worst_of(faults(), passed(f"{len(case.log.releases):,} rounds"))


def survivors_enough(case: AuditContext) -> Finding:
    """Every sum is over enough members of the cohort: the threshold, and the agreed minimum."""
    demanded = case.agreement.agreement.least
    config, names = case.agreement.agreement.config, tuple(case.keys)

    def least(cohort: int) -> int:
        return least_survivors(config.cohort, cohort) if case.masked else demanded

    def faults() -> Iterator[Finding]:
        for line, release in case.log.of(Release):
            needed = least(len(release.cohort)) if case.masked else None
            if release.threshold != needed:
                yield failed(f"the threshold is {release.threshold}, not {needed}", line.where)
        # The cohort follows from the agreement. Taken from releases, a round without any would
        # have no cohort, and any outcome of it would do.
        for number, outcomes in case.log.outcomes.items():
            cohort = agreed_cohort(config, names, number)
            for line, outcome in outcomes.values():
                yield from _too_few(line, outcome, cohort, least(len(cohort)))

    smallest = min(
        (len(o.survivors) for outcomes in case.log.outcomes.values() for _, o in outcomes.values()),
        default=0,
    )
    return worst_of(faults(), passed(f"at least {smallest} members in every sum"))


def _too_few(
    line: LogEntry, outcome: Outcome, cohort: tuple[str, ...], least: int
) -> Iterator[Finding]:
    survivors = outcome.survivors
    if len(set(survivors)) < len(survivors) or not set(survivors) <= set(cohort):
        yield failed("the survivors are not a part of the cohort", line.where)
    elif survivors != tuple(name for name in cohort if name in survivors):
        yield failed("the survivors are not in the order of the roster", line.where)
    if len(set(survivors)) < least:
        yield failed(
            f"the sum is over {len(set(survivors))} members, and needs {least}", line.where
        )


def outcomes_equal(case: AuditContext) -> Finding:
    """All members recorded the same outcome of each round: survivors, model and transcript."""

    def faults() -> Iterator[Finding]:
        for outcomes in case.log.outcomes.values():
            (_, first), *others = outcomes.values()
            for line, outcome in others:
                if outcome.survivors != first.survivors:
                    yield failed("members were told different survivors", line.where)
                elif outcome.model_after != first.model_after:
                    yield failed("members ended the round with different models", line.where)
                elif outcome.transcript != first.transcript:
                    yield failed("members signed different transcripts", line.where)
        for number, releases in case.log.releases.items():
            if number not in case.log.outcomes:
                reason = "the round has releases and no outcome"
                yield lacking(OUTCOMES.fact, reason, releases[0][0].where)

    return worst_of(faults(), passed(f"{len(case.log.outcomes):,} rounds, one account of each"))


def outcomes_seen(case: AuditContext) -> Finding:
    """Each round's outcome is signed by enough members that saw it, and by no other member.

    A member that was not in the sum, or was not shown it, writes that it did not see the end. An
    outcome that only colluding members sign is worth no more than the coordinator's word.
    """

    def faults() -> Iterator[Finding]:
        unseen = {(line.member, event.round): line for line, event in case.log.of(UnseenOutcome)}
        for line, outcome in case.log.of(Outcome):
            if line.member not in outcome.survivors:
                yield failed("the member is in no such sum, and cannot have seen it", line.where)
            elif (line.member, outcome.round) in unseen:
                yield failed("the member says also that it did not see this round end", line.where)
        yield from _too_few_saw(case, {number for _, number in unseen})

    count = sum(len(outcomes) for outcomes in case.log.outcomes.values())
    return worst_of(faults(), passed(f"{count:,} outcomes, each by a member that saw it"))


def _too_few_saw(case: AuditContext, unseen: set[int]) -> Iterator[Finding]:
    """Yield the rounds whose outcome fewer members signed than have to vouch for it."""
    for number in sorted(unseen | case.log.outcomes.keys()):
        needed = _have_to_see(case, number)
        signed = len(case.log.outcomes.get(number, {}))
        if signed < needed:
            yield lacking(
                "members that saw each round end",
                f"{signed} members signed how it ended, and {needed} have to",
                f"round {number}",
            )


def _have_to_see(case: AuditContext, number: int) -> int:
    """Return how many members have to sign how a round ended.

    Of a masked sum, as many as were to be in it. In mode plain, more than half of the members that
    the outcome names or that recorded an update: one member alone may name whom it likes.
    """
    config, names = case.agreement.agreement.config, tuple(case.keys)
    if case.masked:
        return least_survivors(config.cohort, len(agreed_cohort(config, names, number)))
    part = {line.member for line, _ in case.log.releases.get(number, [])}
    for _, outcome in case.log.outcomes.get(number, {}).values():
        part.update(outcome.survivors)
    return len(part & set(names)) // 2 + 1
