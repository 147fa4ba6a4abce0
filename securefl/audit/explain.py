"""Summary of a bundle: participation and privacy loss of each member.

It reports the bundle's content; whether that content is authentic is decided by `verify`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from securefl.audit.accountants.recompute import UnpricedError, epsilon_of
from securefl.audit.bundle.bundle import Bundle
from securefl.audit.bundle.case import Log
from securefl.audit.checks.budgets import claims_of
from securefl.audit.checks.not_proved import NOT_PROVED
from securefl.audit.life import life_loss, member_life, released
from securefl.config.privacy import PrivacySettings, protects
from securefl.consortium.agreement.model import agreement_fingerprint
from securefl.consortium.ledger.event_base import Mechanism
from securefl.consortium.ledger.events import Refusal, RefusedQuestion, Release


@dataclass(frozen=True)
class MemberAccount:
    """Participation and privacy loss of one member.

    Attributes:
        name: Name of the member.
        releases: Number of released updates, repeats not counted.
        repeats: Number of updates sent again.
        refusals: Number of refusals.
        refused_questions: Questions that it refused to answer, by name.
        steps: Number of private steps in this run.
        noise: Smallest noise multiplier of these steps.
        epsilon_before: Recorded epsilon over the life of the data, before this run.
        epsilon_run: Epsilon of this run alone, by the second accountant.
        epsilon_life: Recorded epsilon over the life of the data, after this run.
        epsilon_recomputed: The same by the second accountant.
        other_steps: Number of earlier private steps on the data for other privacy units.
        epsilon_all_units: Epsilon over the life of the data with those steps; None without a bound.
        cap: Lifetime cap of the member's policy.
        unprotected_before: Number of earlier releases from the data without noise.
    """

    name: str
    releases: int
    repeats: int
    refusals: int
    refused_questions: tuple[str, ...]
    steps: int
    noise: float | None
    epsilon_before: float | None
    epsilon_run: float | None
    epsilon_life: float | None
    epsilon_recomputed: float | None
    other_steps: int
    epsilon_all_units: float | None
    cap: float | None
    unprotected_before: int


@dataclass(frozen=True)
class Explanation:
    """Content of a bundle in figures.

    Attributes:
        run: Run id, hex.
        agreement: Name of the agreement.
        fingerprint: Fingerprint of the agreement, for comparison by phone.
        task: Name of the task.
        mode: Aggregation mode.
        protection: Description of masking and noise.
        unit: Privacy unit; None without differential privacy.
        delta: Delta of the epsilons; None without differential privacy.
        budget: The agreed epsilon of the run.
        began: Time of the first entry.
        ended: Time of the last entry.
        rounds: Number of rounds with an outcome.
        rounds_agreed: Number of agreed rounds.
        fewest: Smallest number of members in a sum.
        entries: Number of signed entries.
        heads: Number of tree heads.
        transcripts: Number of transcripts of masked sums named in the bundle.
        members: One account for each member.
        customer_of_all: Epsilon of a unit that every member has, over the life of all data, at
            most; None where no bound is known.
        customer_of_all_run: The same by this run alone.
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
    customer_of_all_run: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the explanation as JSON values."""
        return asdict(self) | {"not_proved": list(NOT_PROVED)}


def explain(bundle: Bundle) -> Explanation:
    """Return the summary of a bundle."""
    log, agreement = Log(bundle), bundle.agreement.agreement
    config, times = agreement.config, [line.entry.time for line in log.lines]
    private = protects(config.privacy.dp)
    loss = life_loss(log, config.privacy) if private else None
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
        members=tuple(_account(log, member, config.privacy) for member in log.by_member),
        customer_of_all=loss.everywhere_life if loss else None,
        customer_of_all_run=loss.everywhere_run if loss else None,
    )


_PROTECTION = {
    ("plain", False): "none: the coordinator saw every update, and no noise hides a customer",
    ("secure", False): "masked sums; no noise hides a customer in the sum",
    ("plain", True): "noise at each member; the coordinator saw every noised update",
    ("secure", True): "noise at each member, and masked sums",
}


def _life(log: Log, member: str) -> list[Mechanism]:
    """Return all recorded mechanisms over the life of a member's data."""
    _, start = log.starts[member]
    return [*start.history, *released(log, member)]


def _account(log: Log, member: str, agreed: PrivacySettings) -> MemberAccount:
    releases = [release for _, release in log.of(Release, member)]
    spent, claims = released(log, member), claims_of(log, member)
    start = log.starts[member][1] if member in log.starts else None
    private = start is not None and start.delta is not None

    def priced(mechanisms: list[Mechanism]) -> float | None:
        return _price(mechanisms, agreed.delta, agreed.accountant)

    repeats = sum(release.repeat_of is not None for release in releases)
    return MemberAccount(
        name=member,
        releases=len(releases) - repeats,
        repeats=repeats,
        refusals=sum(1 for _ in log.of(Refusal, member)),
        refused_questions=tuple(event.question for _, event in log.of(RefusedQuestion, member)),
        steps=sum(mechanism.steps for mechanism in spent),
        noise=min((mechanism.noise_multiplier for mechanism in spent), default=None),
        epsilon_before=start.epsilon_before if start else None,
        epsilon_run=priced(spent) if private else None,
        epsilon_life=claims[-1].epsilon if claims else None,
        epsilon_recomputed=priced(_life(log, member)) if private else None,
        other_steps=sum(one.steps for one in start.other_units) if start else 0,
        epsilon_all_units=member_life(log, member, agreed) if private else None,
        cap=start.cap.epsilon if start and start.cap else None,
        unprotected_before=start.unprotected_before if start else 0,
    )


def _price(mechanisms: list[Mechanism], delta: float, charged_by: str | None) -> float | None:
    try:
        return epsilon_of(mechanisms, delta, charged_by)
    except UnpricedError:
        return None
