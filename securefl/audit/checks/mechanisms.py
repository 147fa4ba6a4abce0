"""Checks of privacy mechanisms: the recorded mechanism compared with the agreement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from securefl.audit.bundle.case import AuditContext, LogEntry
from securefl.audit.bundle.findings import Finding, failed, passed, skipped, worst_of
from securefl.config.privacy import Unit
from securefl.consortium.ledger.composition import SAMPLED_SKELLAM
from securefl.consortium.ledger.digests import units_commitment
from securefl.consortium.ledger.events import (
    Mechanism,
    Release,
    ScoreRelease,
    SkellamMechanism,
    Start,
)
from securefl.privacy.mechanisms import mechanism_for

NO_PRIVACY = skipped("the run claims no differential privacy")
ACCOUNTANTS = ("pld", "prv", "rdp")
_ADJACENCY: Final[Mapping[Unit, str]] = {
    "customer": "add or remove one customer",
    "record": "add or remove one record",
    "member": "one member's update or zero in its place",
}
SYSTEM_RANDOMNESS = "AES-256-CTR, system key"


def recorded(case: AuditContext) -> Iterator[tuple[LogEntry, Mechanism]]:
    """Yield every mechanism in the bundle: those of the run, and those in recorded histories."""
    for line in case.log.lines:
        event = line.entry.event
        if isinstance(event, Start):
            yield from ((line, mechanism) for mechanism in event.history)
        elif isinstance(event, Release | ScoreRelease) and event.mechanism is not None:
            yield line, event.mechanism


def mechanism_agreed(case: AuditContext) -> Finding:
    """Unit, adjacency, clip norm, sampling rate, steps and delta are the agreed ones."""
    if not case.private:
        return NO_PRIVACY
    agreed = case.agreement.agreement.config.privacy

    def faults() -> Iterator[Finding]:
        for line, start in case.log.of(Start):
            if (start.unit, start.delta) != (agreed.unit, agreed.delta):
                yield failed(
                    f"the account is for a {start.unit} at delta {start.delta}, agreed was a"
                    f" {agreed.unit} at {agreed.delta}",
                    line.where,
                )
        for line, release in case.log.of(Release):
            mechanism = release.mechanism
            if mechanism is None:
                if release.repeat_of is None:
                    yield failed("an update was released without any noise", line.where)
                continue
            for name, found, wanted in (
                ("unit", mechanism.unit, agreed.unit),
                ("adjacency", mechanism.adjacency, _ADJACENCY[agreed.unit]),
                ("clip norm", mechanism.clip_norm, agreed.clip_norm),
                ("sampling rate", mechanism.sampling_rate, agreed.sampling_rate),
                ("steps", mechanism.steps, agreed.steps),
                ("delta", release.delta, agreed.delta),
            ):
                if found != wanted:
                    yield failed(f"the {name} is {found}, agreed was {wanted}", line.where)
            yield from _law_faults(case, mechanism, line)

    sigmas = [m.noise_multiplier for _, r in case.log.of(Release) if (m := r.mechanism)]
    noise = f"noise multiplier {min(sigmas, default=0):.4g} at least"
    return worst_of(faults(), passed(f"as agreed; {noise}"))


def _law_faults(case: AuditContext, mechanism: Mechanism, line: LogEntry) -> Iterator[Finding]:
    """Yield the faults of the noise distribution.

    The loss of Skellam noise depends on sensitivity and dimension besides sigma, so both are
    recomputed: recorded too small, they would make epsilon too small.
    """
    config = case.agreement.agreement.config
    agreed = mechanism_for(config.privacy)
    skellam = agreed.recorded_as == SAMPLED_SKELLAM
    if isinstance(mechanism, SkellamMechanism) != skellam:
        yield failed(f"the noise is {mechanism.name}, agreed was {agreed.noise_law}", line.where)
    elif isinstance(mechanism, SkellamMechanism):
        moved = agreed.sum_encoding(config, case.bundle.claims.dimension).sensitivity
        if (mechanism.sensitivity, mechanism.coordinates) != (moved.l2, moved.dimension):
            yield failed("a unit moves the sum further than was recorded", line.where)


def sampler_accounted(case: AuditContext) -> Finding:
    """The batches were sampled as the accountant assumes: Poisson sampling."""
    if not case.private:
        return NO_PRIVACY
    faults = (
        failed(f"'{mechanism.sampler}' batches are priced like Poisson samples", line.where)
        for line, mechanism in recorded(case)
        if mechanism.sampler != "poisson" and mechanism.sampling_rate < 1
    )
    return worst_of(faults, passed("every batch is a Poisson sample"))


def accountant_sound(case: AuditContext) -> Finding:
    """Epsilon was computed by an accountant that gives an upper bound."""
    if not case.private:
        return NO_PRIVACY
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
    if not case.private:
        return NO_PRIVACY

    def faults() -> Iterator[Finding]:
        if case.agreement.agreement.config.privacy.insecure_testing_seed is not None:
            yield failed("a testing seed was agreed: the noise protects nobody", "agreement")
        for line, mechanism in recorded(case):
            if mechanism.rng != SYSTEM_RANDOMNESS:
                yield failed(f"the randomness is '{mechanism.rng}'", line.where)

    return worst_of(faults(), passed(SYSTEM_RANDOMNESS))


def units_apart(case: AuditContext) -> Finding:
    """Composed mechanisms protect the same unit; earlier releases without noise are reported."""
    if not case.private:
        return NO_PRIVACY

    def faults() -> Iterator[Finding]:
        for line, start in case.log.of(Start):
            for mechanism in start.history:
                if mechanism.unit != start.unit:
                    yield failed(f"a {mechanism.unit} and a {start.unit} are added up", line.where)
            if start.unprotected_before:
                yield skipped(
                    f"{start.unprotected_before} earlier releases from these data had no noise,"
                    " and no epsilon covers them",
                    line.where,
                )

    return worst_of(faults(), passed(f"one unit: {case.agreement.agreement.config.privacy.unit}"))


def delta_small(case: AuditContext) -> Finding:
    """Delta is below one over the number of units, where the member opened its commitment."""
    if not case.private:
        return NO_PRIVACY
    openings = {opening.member: opening for opening in case.bundle.openings}
    if not openings:
        return skipped("no member opened its commitment to the number of its units")

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
