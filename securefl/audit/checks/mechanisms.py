"""Checks of privacy mechanisms: the recorded mechanism compared with the agreement."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

from securefl.audit.bundle.case import AuditContext, LogEntry
from securefl.audit.bundle.findings import Finding, failed, passed, skipped, worst_of
from securefl.config.privacy import PrivacySettings
from securefl.config.schema import RunConfig
from securefl.consortium.ledger.composition import SAMPLED_SKELLAM, as_event
from securefl.consortium.ledger.digests import units_commitment
from securefl.consortium.ledger.event_base import Mechanism, SkellamMechanism
from securefl.consortium.ledger.events import Charging, Release, Start
from securefl.consortium.ledger.hash_chain import LedgerError
from securefl.errors import ConfigError
from securefl.privacy.accounting.events import PrivacyEvent
from securefl.privacy.mechanisms import mechanism_for
from securefl.privacy.plan import PrivacyPlan
from securefl_protocols.primitives.errors import PlanError

ACCOUNTANTS = ("pld", "prv", "rdp")
_CALIBRATION = 5e-3
"""Relative difference of two calibrations: each is right to one in a thousand, and a variance twice
that; arithmetic of another machine may decide a step of the bisection otherwise."""
POISSON = "poisson"
"""The one way to draw batches, also where every unit is in each."""
SYSTEM_RANDOMNESS = "AES-256-CTR, system key"


def recorded(case: AuditContext) -> Iterator[tuple[LogEntry, Mechanism]]:
    """Yield every mechanism in the bundle: those of the run, and those in recorded histories."""
    for line in case.log.lines:
        event = line.entry.event
        if isinstance(event, Start):
            yield from ((line, mechanism) for mechanism in (*event.history, *event.other_units))
        elif isinstance(event, Charging) and event.mechanism is not None:
            yield line, event.mechanism


def mechanism_agreed(case: AuditContext) -> Finding:
    """Unit, adjacency, clip norm, rate, steps, accountant and delta are the agreed ones."""
    agreed = case.agreement.agreement.config.privacy
    try:
        plan = PrivacyPlan.of(case.agreement.agreement.config)
    except ConfigError as error:
        return failed(f"the agreed protection cannot be planned: {error}", "agreement")

    def faults() -> Iterator[Finding]:
        for line, start in case.log.of(Start):
            if (start.unit, start.delta) != (agreed.unit, agreed.delta):
                yield failed(
                    f"the account is for a {start.unit} at delta {start.delta}, agreed was a"
                    f" {agreed.unit} at {agreed.delta}",
                    line.where,
                )
        for line, release in case.log.of(Release):
            yield from _fields_agreed(release, plan, line)
            if release.mechanism is not None:
                yield from _law_faults(case, release.mechanism, line)

    return worst_of(faults(), passed(f"as agreed: {plan.does}"))


def _fields_agreed(release: Release, plan: PrivacyPlan, line: LogEntry) -> Iterator[Finding]:
    """Yield the fields of a release that differ from the plan, in whichever direction."""
    mechanism, agreed = release.mechanism, plan.settings
    if mechanism is None:
        if release.repeat_of is None:
            yield failed("an update was released without any noise", line.where)
        elif (release.delta, release.epsilon_before, release.epsilon_after) != (None,) * 3:
            yield failed(
                "an update that is sent again costs nothing, and a loss is stated", line.where
            )
        return
    for name, found, wanted in (
        ("unit", mechanism.unit, agreed.unit),
        ("adjacency", mechanism.adjacency, plan.mechanism.adjacency),
        ("clip norm", mechanism.clip_norm, agreed.clip_norm),
        ("sampling rate", mechanism.sampling_rate, agreed.sampling_rate),
        ("steps", mechanism.steps, agreed.steps),
        ("sampler", mechanism.sampler, POISSON),
        ("accountant", mechanism.accountant, agreed.accountant),
        ("delta", release.delta, agreed.delta),
    ):
        if found != wanted:
            yield failed(f"the {name} is {found}, agreed was {wanted}", line.where)


def _law_faults(case: AuditContext, mechanism: Mechanism, line: LogEntry) -> Iterator[Finding]:
    """Yield the faults of the noise distribution.

    The loss of Skellam noise depends on sensitivity and dimension besides sigma, so both are
    recomputed: recorded too small, they would make epsilon too small.
    """
    config = case.agreement.agreement.config
    agreed = mechanism_for(config.privacy)
    if mechanism.name != agreed.recorded_as:
        yield failed(f"the noise is {mechanism.name}, agreed was {agreed.recorded_as}", line.where)
    elif isinstance(mechanism, SkellamMechanism) and agreed.recorded_as == SAMPLED_SKELLAM:
        moved = agreed.sum_encoding(config, case.bundle.claims.dimension).sensitivity
        if (mechanism.sensitivity, mechanism.coordinates) != (moved.l2, moved.dimension):
            yield failed("a unit moves the sum further than was recorded", line.where)


def noise_planned(case: AuditContext) -> Finding:
    """Every round has the noise that the agreed budget gives it, no less and no more.

    More noise than was planned is as wrong as less: a member that records noise that it did not add
    pays too little.
    """
    lowest: list[float] = []

    def faults() -> Iterator[Finding]:
        for member in case.log.starts:
            charged: tuple[PrivacyEvent, ...] = ()
            for line, mechanism in case.log.charges(member):
                number = line.event.round if isinstance(line.event, Release) else None
                try:
                    before, charged = charged, _joined((*charged, as_event(mechanism)))
                    if number is None:
                        continue  # scores: `scores_agreed` compares their noise
                    planned = planned_round(case, number, before)
                except (ConfigError, PlanError, LedgerError, ArithmeticError, ValueError) as error:
                    yield failed(f"no noise was planned for this round: {error}", line.where)
                    break
                lowest.append(planned.noise_multiplier)
                if _differs(mechanism, planned):
                    yield failed(
                        f"the noise multiplier is {mechanism.noise_multiplier:.4g}, the plan says"
                        f" {planned.noise_multiplier:.4g}",
                        line.where,
                    )

    found = list(faults())  # before the least is named
    return worst_of(found, passed(f"noise multiplier {min(lowest, default=0):.4g} at least"))


def planned_round(
    case: AuditContext, number: int, charged: tuple[PrivacyEvent, ...]
) -> PrivacyEvent:
    """Return the event that the agreement plans for a round after a member's earlier charges."""
    config = case.agreement.agreement.config
    return _planned_round(config, len(case.keys), case.bundle.claims.dimension, number, charged)


@lru_cache(maxsize=1 << 12)
def _planned_round(
    config: RunConfig,
    members: int,
    dimension: int,
    number: int,
    charged: tuple[PrivacyEvent, ...],
) -> PrivacyEvent:
    mechanism = mechanism_for(config.privacy)
    return mechanism.round_event(config, members, dimension, number, charged)


def _joined(events: tuple[PrivacyEvent, ...]) -> tuple[PrivacyEvent, ...]:
    """Merge equal events, the latest last: a member plans its noise from them in that order."""
    steps: dict[PrivacyEvent, int] = {}
    for event in events:
        kind = event.with_steps(1)
        steps[kind] = steps.pop(kind, 0) + event.steps
    return tuple(kind.with_steps(count) for kind, count in steps.items())


def same_noise(found: float, planned: float) -> bool:
    """Return whether a recorded noise is the planned one, up to the error of its calibration."""
    return math.isclose(found, planned, rel_tol=_CALIBRATION)


def charged_at_once(
    found: Mechanism, event: PrivacyEvent, agreed: PrivacySettings
) -> tuple[tuple[str, object, object], ...]:
    """Return what follows from the agreement where one release is of all units, taken once.

    Args:
        found: The recorded charge.
        event: The agreed one.
        agreed: The agreed settings.

    Returns:
        Name, recorded value and agreed value of each.
    """
    return (
        ("mechanism", found.name, event.recorded_as),
        ("unit", found.unit, agreed.unit),
        ("adjacency", found.adjacency, mechanism_for(agreed).adjacency),
        ("sampling rate", found.sampling_rate, 1.0),
        ("number of steps", found.steps, 1),
        ("sampler", found.sampler, POISSON),
        ("accountant", found.accountant, agreed.accountant),
    )


def _differs(mechanism: Mechanism, planned: PrivacyEvent) -> bool:
    pairs = [(mechanism.noise_multiplier, planned.noise_multiplier)]
    variance = planned.own_fields().get("variance")
    if isinstance(mechanism, SkellamMechanism) and variance is not None:
        pairs.append((mechanism.variance, variance))
    return not all(same_noise(found, wanted) for found, wanted in pairs)


def sampler_accounted(case: AuditContext) -> Finding:
    """The batches were sampled as the accountant assumes: Poisson sampling."""
    faults = (
        failed(f"'{mechanism.sampler}' batches are priced like Poisson samples", line.where)
        for line, mechanism in recorded(case)
        if mechanism.sampler != POISSON and mechanism.sampling_rate < 1
    )
    return worst_of(faults, passed("every batch is a Poisson sample"))


def accountant_sound(case: AuditContext) -> Finding:
    """Epsilon was computed by an accountant that gives an upper bound."""
    agreed = case.agreement.agreement.config.privacy.accountant

    def faults() -> Iterator[Finding]:
        for line, mechanism in recorded(case):
            if mechanism.accountant == "gdp":
                yield failed("the Gaussian DP accountant under-reports epsilon", line.where)
            elif mechanism.accountant not in ACCOUNTANTS:
                yield failed(f"no accountant '{mechanism.accountant}' is known", line.where)
        for line, start in case.log.of(Start):
            if start.accountant != agreed:
                yield failed(f"the accountant is {start.accountant}, not {agreed}", line.where)

    return worst_of(faults(), passed(f"{agreed}, an upper bound"))


def randomness_secret(case: AuditContext) -> Finding:
    """Noise and batches came from a generator with a secret key."""

    def faults() -> Iterator[Finding]:
        if case.agreement.agreement.config.privacy.insecure_testing_seed is not None:
            yield failed("a testing seed was agreed: the noise protects nobody", "agreement")
        for line, mechanism in recorded(case):
            if mechanism.rng != SYSTEM_RANDOMNESS:
                yield failed(f"the randomness is '{mechanism.rng}'", line.where)

    return worst_of(faults(), passed(SYSTEM_RANDOMNESS))


def units_apart(case: AuditContext) -> Finding:
    """Composed mechanisms protect one unit under one adjacency; unprotected ones are reported."""
    adjacency = mechanism_for(case.agreement.agreement.config.privacy).adjacency

    def faults() -> Iterator[Finding]:
        for line, start in case.log.of(Start):
            for mechanism in start.history:
                if mechanism.unit != start.unit:
                    yield failed(f"a {mechanism.unit} and a {start.unit} are added up", line.where)
                elif mechanism.adjacency != adjacency:
                    yield failed(
                        f"'{mechanism.adjacency}' and '{adjacency}' are added up", line.where
                    )
            for mechanism in start.other_units:
                if mechanism.unit == start.unit:
                    yield failed(f"a {mechanism.unit} is told apart from itself", line.where)
            if start.unprotected_before:
                yield skipped(
                    f"{start.unprotected_before} earlier releases from these data had no noise,"
                    " and no epsilon covers them",
                    line.where,
                )

    return worst_of(faults(), passed(f"one unit: {case.agreement.agreement.config.privacy.unit}"))


def delta_small(case: AuditContext) -> Finding:
    """Delta is below one over the number of units, where the member opened its commitment."""
    openings = {opening.member: opening for opening in case.bundle.openings}

    def faults() -> Iterator[Finding]:
        for member, (line, start) in case.log.starts.items():
            opening = openings.get(member)
            if opening is None:
                continue
            if units_commitment(opening.units, bytes.fromhex(opening.salt)) != start.units:
                yield failed("what was opened is not what the member committed to", line.where)
            elif start.delta is not None and start.delta * opening.units >= 1:
                yield failed(f"delta {start.delta:g} is not below 1/{opening.units:,}", line.where)

    opened = sum(member in openings for member in case.log.starts)
    return worst_of(
        faults(), passed(f"{opened} of {len(case.log.starts)} members opened their number")
    )
