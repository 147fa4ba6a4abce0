"""A bundle in words and figures: who did what, and what it cost whom.

It tells what the bundle says. Whether that holds is `verify`'s to judge.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from securefl.audit.accountants.recompute import UnpricedError, epsilon_of
from securefl.audit.bundle.bundle import Bundle
from securefl.audit.bundle.case import Log
from securefl.audit.checks.budgets import claims_of
from securefl.audit.checks.registry import NOT_PROVED
from securefl.config.privacy import protects
from securefl.consortium.agreement.model import agreement_fingerprint
from securefl.consortium.ledger.events import Mechanism, Refusal, Release


@dataclass(frozen=True)
class MemberAccount:
    """What one member did, and what its data paid.

    Attributes:
        name: The member.
        releases: Updates that left it, repeats not counted.
        repeats: How often one of them left again.
        refusals: What it refused.
        steps: Private steps of this run.
        noise: Smallest noise multiplier of them.
        epsilon_before: Recorded over the life of the data, before this run.
        epsilon_run: Of this run alone, by the second accountant.
        epsilon_life: Recorded over the life of the data, after this run.
        epsilon_recomputed: The same by the second accountant.
        cap: What the member's policy allows over the life of the data.
        unprotected_before: Earlier releases from the data without noise.
    """

    name: str
    releases: int
    repeats: int
    refusals: int
    steps: int
    noise: float | None
    epsilon_before: float | None
    epsilon_run: float | None
    epsilon_life: float | None
    epsilon_recomputed: float | None
    cap: float | None
    unprotected_before: int


@dataclass(frozen=True)
class Explanation:
    """What a bundle says.

    Attributes:
        run: Names the run.
        agreement: Name of the agreement.
        fingerprint: Of the agreement, to compare by phone.
        task: What was learned.
        mode: How updates travelled.
        protection: How single units were protected, in words.
        unit: Whom epsilon is for; None without differential privacy.
        delta: At which epsilon is given; None without differential privacy.
        budget: The agreed epsilon of the run.
        began: Time of the first entry.
        ended: Time of the last entry.
        rounds: Rounds that ended.
        rounds_agreed: Rounds that were agreed.
        fewest: Fewest members in a sum.
        entries: Signed entries.
        heads: Countersigned heads.
        transcripts: Transcripts of masked sums named in the bundle.
        members: One account each.
        customer_of_all: Epsilon for a unit that every member has, over the life of all data.
    """

    run: str
    agreement: str
    fingerprint: str
    task: str
    mode: str
    protection: str
    unit: str | None
    delta: float | None
    budget: float | None
    began: str
    ended: str
    rounds: int
    rounds_agreed: int
    fewest: int
    entries: int
    heads: int
    transcripts: int
    members: tuple[MemberAccount, ...]
    customer_of_all: float | None

    def to_json(self) -> dict[str, Any]:
        """JSON values for programs."""
        return asdict(self) | {"not_proved": list(NOT_PROVED)}


def explain(bundle: Bundle) -> Explanation:
    """What a bundle says of its run."""
    log, agreement = Log(bundle), bundle.agreement.agreement
    config, times = agreement.config, [line.entry.time for line in log.lines]
    private = protects(config.privacy.dp)
    everything = [m for member in log.starts for m in _life(log, member)]
    sums = [o.survivors for outcomes in log.outcomes.values() for _, o in outcomes.values()]
    return Explanation(
        run=bundle.run,
        agreement=agreement.name,
        fingerprint=agreement_fingerprint(agreement),
        task=config.task,
        mode=config.mode,
        protection=_PROTECTION[config.mode, private],
        unit=config.privacy.unit if private else None,
        delta=config.privacy.delta if private else None,
        budget=config.privacy.epsilon,
        began=min(times, default=""),
        ended=max(times, default=""),
        rounds=len(log.outcomes),
        rounds_agreed=config.rounds,
        fewest=min(map(len, sums), default=0),
        entries=len(log.lines),
        heads=len(bundle.heads),
        transcripts=len(bundle.transcripts),
        members=tuple(_account(log, member, config.privacy.delta) for member in log.by_member),
        customer_of_all=_price(everything, config.privacy.delta) if private else None,
    )


_PROTECTION = {
    ("plain", False): "none: the coordinator saw every update, and no noise hides a customer",
    ("secure", False): "masked sums; no noise hides a customer in the sum",
    ("plain", True): "noise at each member; the coordinator saw every noised update",
    ("secure", True): "noise at each member, and masked sums",
}


def _life(log: Log, member: str) -> list[Mechanism]:
    """All that a member says its data went through."""
    _, start = log.starts[member]
    return [*start.history, *_spent(log, member)]


def _spent(log: Log, member: str) -> list[Mechanism]:
    return [m for _, release in log.of(Release, member) if (m := release.mechanism)]


def _account(log: Log, member: str, delta: float) -> MemberAccount:
    releases = [release for _, release in log.of(Release, member)]
    spent, claims = _spent(log, member), claims_of(log, member)
    start = log.starts[member][1] if member in log.starts else None
    private = start is not None and start.delta is not None
    repeats = sum(release.repeat_of is not None for release in releases)
    return MemberAccount(
        name=member,
        releases=len(releases) - repeats,
        repeats=repeats,
        refusals=sum(1 for _ in log.of(Refusal, member)),
        steps=sum(mechanism.steps for mechanism in spent),
        noise=min((mechanism.noise_multiplier for mechanism in spent), default=None),
        epsilon_before=start.epsilon_before if start else None,
        epsilon_run=_price(spent, delta) if private else None,
        epsilon_life=claims[-1].epsilon if claims else None,
        epsilon_recomputed=_price(_life(log, member), delta) if private else None,
        cap=start.cap.epsilon if start and start.cap else None,
        unprotected_before=start.unprotected_before if start else 0,
    )


def _price(mechanisms: list[Mechanism], delta: float) -> float | None:
    try:
        return epsilon_of(mechanisms, delta)
    except UnpricedError:
        return None
