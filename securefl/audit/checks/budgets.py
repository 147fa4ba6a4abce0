"""Checks of privacy budgets: recomputed epsilon, continuity of accounts, caps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from securefl.audit.accountants.recompute import (
    BeyondReachError,
    Claim,
    UnpricedError,
    epsilon_of,
    exceeded,
    under_reported,
)
from securefl.audit.bundle.case import AuditContext, Log, LogEntry
from securefl.audit.bundle.findings import Finding, failed, passed, skipped, warned, worst_of
from securefl.audit.checks.chains import unsound
from securefl.audit.checks.mechanisms import NO_PRIVACY
from securefl.consortium.ledger.events import End, Mechanism, Release, ScoreRelease, Start

_ROUNDING = 1e-9
"""Relative tolerance for composing the same mechanisms in another order."""


def claims_of(log: Log, member: str) -> list[Claim]:
    """Return a member's recorded epsilons over the life of its data, in entry order."""
    claims: list[Claim] = []
    for line in log.by_member[member]:
        match line.entry.event:
            case Start(history=history, epsilon_before=epsilon) if epsilon is not None:
                claims.append(Claim(line.where, history, epsilon))
            case (
                Release(mechanism=mechanism, epsilon_after=epsilon)
                | ScoreRelease(mechanism=mechanism, epsilon_after=epsilon)
            ) if epsilon is not None:
                claims.append(Claim(line.where, (mechanism,) if mechanism else (), epsilon))
            case End(epsilon_after=epsilon) if epsilon is not None:
                claims.append(Claim(line.where, (), epsilon))
            case _:
                pass
    return claims


def epsilon_recomputed(case: AuditContext) -> Finding:
    """Epsilon, recomputed by a second accountant, is nowhere above the recorded one."""
    if not case.private:
        return NO_PRIVACY
    highest = 0.0

    def faults() -> Iterator[Finding]:
        nonlocal highest
        for member, (line, start) in case.log.starts.items():
            if start.delta is None:
                yield failed("the member states no delta", line.where)
                continue
            try:
                claims = claims_of(case.log, member)
                for claim, epsilon in under_reported(claims, start.delta, start.accountant):
                    yield failed(
                        f"epsilon is {epsilon:.4g}, recorded was {claim.epsilon:.4g}", claim.where
                    )
                everything = [m for claim in claims for m in claim.mechanisms]
                second = epsilon_of(everything, start.delta, start.accountant)
                highest = max(highest, second)
            except BeyondReachError as error:
                yield warned(str(error), line.where)
            except UnpricedError as error:
                yield failed(str(error), line.where)

    found = worst_of(faults(), passed(""))
    if found.verdict != "pass":
        return found
    return passed(
        f"a second accountant: at most {highest:.4g}, recorded up to {_recorded(case):.4g}"
    )


def _recorded(case: AuditContext) -> float:
    claims = (claim for member in case.log.by_member for claim in claims_of(case.log, member))
    return max((claim.epsilon for claim in claims), default=0.0)


def budget_continued(case: AuditContext) -> Finding:
    """No account was reset: the epsilon spent never decreases from entry to entry."""
    if not case.private:
        return NO_PRIVACY
    faults = (fault for lines in case.log.by_member.values() for fault in _resets(lines))
    return worst_of(faults, passed("every account goes on where it was left, or higher"))


def _resets(lines: Sequence[LogEntry]) -> Iterator[Finding]:
    """Yield a finding for each epsilon below the one before.

    A higher one is valid: another run on the same data may have spent budget in between.
    """
    left = 0.0
    for line in lines:
        match line.entry.event:
            case Start(epsilon_before=before):
                stages = [before]
            case (
                Release(mechanism=mechanism, epsilon_before=before, epsilon_after=after)
                | ScoreRelease(mechanism=mechanism, epsilon_before=before, epsilon_after=after)
            ):
                stages = [before, after] if mechanism is not None else []
            case End(epsilon_after=after):
                stages = [after]
            case _:
                stages = []
        for stage in stages:
            if stage is None:
                yield failed("the member does not say what it had spent", line.where)
            elif stage < left * (1 - _ROUNDING):
                yield failed(
                    f"the account stands at {stage:.4g}, and was left at {left:.4g}", line.where
                )
            left = left if stage is None else stage


def budget_kept(case: AuditContext) -> Finding:
    """The agreed budget of the run is kept, and each member's cap over the life of its data."""
    if not case.private:
        return NO_PRIVACY
    agreed = case.agreement.agreement.config.privacy

    def faults() -> Iterator[Finding]:
        for member, (line, start) in case.log.starts.items():
            spent = [mechanism for _, mechanism in case.log.charges(member)]
            # Spent budget is recomputed here, since a recorded epsilon is the member's own claim.
            bounds = [(spent, agreed.epsilon, agreed.delta, "agreed budget of the run")]
            if start.cap is not None and spent:
                life = [*start.history, *spent]
                bounds.append((life, start.cap.epsilon, start.cap.delta, "member's cap"))
            for mechanisms, bound, delta, name in bounds:
                epsilon = _priced(mechanisms, delta, start.accountant)
                if bound is not None and exceeded(epsilon, bound):
                    yield failed(
                        f"epsilon {epsilon:.4g} is above the {name}, {bound:g}", line.where
                    )

    caps = sum(start.cap is not None for _, start in case.log.starts.values())
    return worst_of(
        faults(),
        passed(f"within the agreed epsilon {agreed.epsilon} and the caps of {caps} members"),
    )


def _priced(mechanisms: Sequence[Mechanism], delta: float, charged_by: str | None) -> float:
    """Return epsilon; 0 where it cannot be computed, which `epsilon_recomputed` reports."""
    try:
        return epsilon_of(mechanisms, delta, charged_by)
    except UnpricedError:
        return 0.0


def earlier_runs(case: AuditContext) -> Finding:
    """The account at the start includes what other runs on the same data have spent."""
    if not case.private:
        return NO_PRIVACY
    other = case.other
    if other is None or other.bundle.run == case.bundle.run:
        return skipped("no bundle of another run on the same data was given")
    if not_sound := unsound(other, other.bundle.agreement):
        return not_sound
    shared = [
        member
        for member, (_, start) in case.log.starts.items()
        if member in other.starts and other.starts[member][1].data_set == start.data_set
    ]
    if not shared:
        return skipped("the other bundle is of other data")
    faults = (fault for member in shared for fault in _uncounted(case.log, other, member))
    return worst_of(faults, passed(f"{len(shared)} accounts go on from run to run"))


def _uncounted(one: Log, two: Log, member: str) -> Iterator[Finding]:
    """Yield a finding if the later of two runs does not count what the earlier one released."""
    earlier, later = sorted((one, two), key=lambda log: log.starts[member][0].entry.time)
    (_, first), (line, second) = earlier.starts[member], later.starts[member]
    before = [
        mechanism
        for entry, mechanism in earlier.charges(member)
        # Runs may overlap in time: only what was released before the later run began is in its
        # history.
        if entry.entry.time <= line.entry.time
    ]
    spent = _by_mechanism(m for m in (*first.history, *before) if m.unit == second.unit)
    if steps := (spent - _by_mechanism(second.history)).total():
        yield failed(f"{steps} steps of the earlier run are not in the account", line.where)


def _by_mechanism(mechanisms: Iterable[Mechanism]) -> Counter[Mechanism]:
    steps: Counter[Mechanism] = Counter()
    for mechanism in mechanisms:
        steps[mechanism.model_copy(update={"steps": 1})] += mechanism.steps
    return steps
