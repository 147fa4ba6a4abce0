"""Checks of privacy budgets: recomputed epsilon, continuity of accounts, caps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from securefl.audit.accountants.bounds import exceeded
from securefl.audit.accountants.recompute import (
    BeyondReachError,
    Claim,
    MissingAccountantError,
    UnpricedError,
    compared,
    computed_by,
    epsilon_of,
    under_reported,
)
from securefl.audit.bundle.case import AuditContext, Log, LogEntry
from securefl.audit.bundle.findings import (
    Finding,
    failed,
    lacking,
    passed,
    warned,
    worst_of,
)
from securefl.audit.checks.mechanisms import ACCOUNTANTS
from securefl.consortium.ledger.composition import compose
from securefl.consortium.ledger.event_base import Mechanism
from securefl.consortium.ledger.events import Charging, End, Release, ScoreRelease, Start
from securefl.consortium.ledger.hash_chain import LedgerError
from securefl.consortium.ledger.vote_events import Ballot
from securefl.errors import ConfigError

_ROUNDING = 1e-9
"""Relative tolerance for composing the same mechanisms in another order."""
_PRICED = Charging | End
"""Events that state what the account was left at."""
PRICE = "prices of the second accountant"
"""What is lacking where a record is neither confirmed nor refuted."""
_PROOFS = 3
"""Claims for which a proof is sought: it takes seconds, and a dishonest record may have many."""
_LARGEST_DELTA = 1e-2
"""Largest delta of a cap where the number of units is not known."""


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
                | Ballot(mechanism=mechanism, epsilon_after=epsilon)
            ) if epsilon is not None:
                claims.append(Claim(line.where, (mechanism,) if mechanism else (), epsilon))
            case End(epsilon_after=epsilon) if epsilon is not None:
                claims.append(Claim(line.where, (), epsilon))
            case _:
                pass
    return claims


def epsilon_recomputed(case: AuditContext) -> Finding:
    """Epsilon, recomputed by a second accountant, is nowhere above the recorded one."""
    highest = 0.0
    ways: set[str] = set()

    def faults() -> Iterator[Finding]:
        nonlocal highest
        for member, (line, start) in case.log.starts.items():
            if start.delta is None:
                yield failed("the member states no delta", line.where)
                continue
            try:
                claims = claims_of(case.log, member)
                yield from _too_low(claims, start.delta, start.accountant)
                everything = [m for claim in claims for m in claim.mechanisms]
                highest = max(highest, epsilon_of(everything, start.delta, start.accountant))
                ways.add(computed_by(everything, start.accountant))
                yield from _unexplained(claims, start, line)
                yield from _jumps(case.log.by_member[member])
            except BeyondReachError as error:
                yield _unpriced(error, line)
            except UnpricedError as error:
                yield failed(str(error), line.where)

    found = worst_of(faults(), passed(""))
    if found.verdict != "pass":
        return found
    priced = " and ".join(sorted(ways))
    return passed(f"{priced}: at most {highest:.4g}, recorded up to {_recorded(case):.4g}")


def _too_low(claims: Sequence[Claim], delta: float, charged_by: str | None) -> Iterator[Finding]:
    """Yield a finding for each claim below the recomputed epsilon; a failure where it is proved.

    A figure may be too high, where a grid is coarse or a distribution out of reach, and must not
    accuse an honest member. One proof is enough, sought where the figure is farthest above.
    """
    found = list(under_reported(claims, delta, charged_by))
    found.sort(key=lambda fault: fault[0].epsilon / max(fault[1], 1e-300))
    proved = any(
        compared(_up_to(claims, claim), delta, claim.epsilon) == "above"
        for claim, _ in found[:_PROOFS]
    )
    for claim, epsilon in found:
        reason = f"epsilon is {epsilon:.4g}, recorded was {claim.epsilon:.4g}"
        if proved:
            yield failed(reason, claim.where)
        else:
            yield lacking(PRICE, f"{reason}; which is right cannot be computed here", claim.where)


def _up_to(claims: Sequence[Claim], last: Claim) -> list[Mechanism]:
    """Return the mechanisms of all claims up to one."""
    counted = claims[: claims.index(last) + 1]
    return [mechanism for claim in counted for mechanism in claim.mechanisms]


def _unexplained(claims: Sequence[Claim], start: Start, line: LogEntry) -> Iterator[Finding]:
    """Yield a finding if a member records another figure than its own accountant gives.

    Another run on the same data may have spent more between two rounds, which this bundle cannot
    show. It costs nobody privacy, but the figure is then not explained. Less may still be a bound
    that holds, but it was not computed as the entry says.
    """
    if start.delta is None or start.accountant not in ACCOUNTANTS:
        return
    steps = [mechanism for claim in claims for mechanism in claim.mechanisms]
    points = ((claims[0], claims[0].mechanisms), (claims[-1], steps))
    try:
        first, explained = (compose(price, start.delta, start.accountant) for _, price in points)
    except (LedgerError, ConfigError) as error:
        yield lacking(PRICE, str(error), line.where)
        return
    if exceeded(claims[-1].epsilon, explained):
        yield lacking(
            "runs that spent in between",
            f"recorded is {claims[-1].epsilon:.4g}, and these steps explain {explained:.4g}",
            line.where,
        )
    for (claim, _), own in zip(points, (first, explained), strict=True):
        if exceeded(own, claim.epsilon):
            yield lacking(
                "how epsilon was computed",
                f"recorded is {claim.epsilon:.4g}, and {start.accountant} gives {own:.4g}",
                claim.where,
            )


def _jumps(lines: Sequence[LogEntry]) -> Iterator[Finding]:
    """Yield a finding where more was spent before a release than was left after the last one."""
    left: float | None = None
    for line in lines:
        for before, stage in _stages(line):
            if left is not None and before and stage is not None and exceeded(stage, left):
                yield lacking(
                    "runs that spent in between",
                    f"the account stands at {stage:.4g}, and was left at {left:.4g}",
                    line.where,
                )
            left = stage if stage is not None else left


def _recorded(case: AuditContext) -> float:
    claims = (claim for member in case.log.by_member for claim in claims_of(case.log, member))
    return max((claim.epsilon for claim in claims), default=0.0)


def budget_continued(case: AuditContext) -> Finding:
    """No account was reset: the epsilon spent never decreases from entry to entry."""
    faults = (fault for lines in case.log.by_member.values() for fault in _resets(lines))
    return worst_of(faults, passed("every account goes on where it was left, or higher"))


def _resets(lines: Sequence[LogEntry]) -> Iterator[Finding]:
    """Yield a finding for each epsilon below the one before.

    A higher one is valid: another run on the same data may have spent budget in between.
    """
    left = 0.0
    for line in lines:
        for _, stage in _stages(line):
            if stage is None:
                yield failed("the member does not say what it had spent", line.where)
            elif stage < left * (1 - _ROUNDING):
                yield failed(
                    f"the account stands at {stage:.4g}, and was left at {left:.4g}", line.where
                )
            left = left if stage is None else stage


def _stages(line: LogEntry) -> list[tuple[bool, float | None]]:
    """Return where an account stands by an entry, and whether that is before what it charges."""
    match line.entry.event:
        case Start(epsilon_before=before):
            return [(True, before)]
        case (
            Release(mechanism=mechanism, epsilon_before=before, epsilon_after=after)
            | ScoreRelease(mechanism=mechanism, epsilon_before=before, epsilon_after=after)
            | Ballot(mechanism=mechanism, epsilon_before=before, epsilon_after=after)
        ):
            return [(True, before), (False, after)] if mechanism is not None else []
        case End(epsilon_after=after):
            return [(True, after)]
        case _:
            return []


def budget_kept(case: AuditContext) -> Finding:
    """The agreed budget of the run is kept, and each member's cap over the life of its data."""
    agreed = case.agreement.agreement.config.privacy

    def faults() -> Iterator[Finding]:
        for member, (line, start) in case.log.starts.items():
            spent = [mechanism for _, mechanism in case.log.charges(member)]
            # Spent budget is recomputed here, since a recorded epsilon is the member's own claim.
            budget = _Limit("agreed budget of the run", agreed.epsilon, agreed.delta)
            yield from _overspent(spent, budget, start, line)
            yield from _cap_faults(case, line, start)
            if start.cap is not None and spent:
                cap = _Limit("member's cap", start.cap.epsilon, start.cap.delta)
                yield from _overspent([*start.history, *spent], cap, start, line)

    caps = sum(start.cap is not None for _, start in case.log.starts.values())
    return worst_of(
        faults(),
        passed(f"within the agreed epsilon {agreed.epsilon} and the caps of {caps} members"),
    )


def _cap_faults(case: AuditContext, line: LogEntry, start: Start) -> Iterator[Finding]:
    """Yield the faults of a recorded cap: without its policy, or at a delta that binds nothing."""
    if (start.policy is None) != (start.cap is None):
        yield failed("a cap belongs to a policy, and a policy has a cap", line.where)
    if start.cap is None or start.delta is None:
        return
    if start.cap.delta < start.delta:
        yield failed(
            f"the cap is at delta {start.cap.delta:g}, which forbids this run's {start.delta:g}",
            line.where,
        )
    # At a delta of one over the number of units, a mechanism that publishes one of them has
    # epsilon 0. Members are counted in the agreement; of customers, a hundred are assumed.
    largest = 1 / len(case.keys) if start.unit == "member" else _LARGEST_DELTA
    if start.cap.delta > largest:
        yield failed(
            f"the cap is at delta {start.cap.delta:g}, above {largest:g}: it binds nothing",
            line.where,
        )


@dataclass(frozen=True)
class _Limit:
    name: str
    epsilon: float | None
    delta: float


def _overspent(
    mechanisms: Sequence[Mechanism], limit: _Limit, start: Start, line: LogEntry
) -> Iterator[Finding]:
    """Yield a finding if a budget is overspent, or if it cannot be computed whether it is."""
    if limit.epsilon is None:
        return
    try:
        epsilon = epsilon_of(mechanisms, limit.delta, start.accountant)
        if not exceeded(epsilon, limit.epsilon):
            return
        verdict = compared(mechanisms, limit.delta, limit.epsilon)
    except BeyondReachError as error:
        yield _unpriced(error, line)
    except UnpricedError:
        return  # `epsilon_recomputed` fails
    else:
        reason = f"epsilon {epsilon:.4g} is above the {limit.name}, {limit.epsilon:g}"
        if verdict == "above":
            yield failed(reason, line.where)
        elif verdict == "unknown":
            yield lacking(PRICE, f"{reason}, or that cannot be computed here", line.where)


def _unpriced(error: BeyondReachError, line: LogEntry) -> Finding:
    """Return that there is no price; a doubt only where a package is missing that has one."""
    if isinstance(error, MissingAccountantError):
        return warned(str(error), line.where)
    return lacking(PRICE, str(error), line.where)
