"""Check of recorded mechanisms by themselves: kinds that are known, and numbers that can be.

What a run charges is compared with its agreement elsewhere. Earlier mechanisms are compared with
nothing: their member states them, and every figure over the life of its data is made of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from securefl.audit.bundle.case import AuditContext
from securefl.audit.bundle.findings import Finding, failed, passed, worst_of
from securefl.audit.checks.mechanisms import recorded
from securefl.config.privacy import CLIP_NORMS, SAMPLING_RATES
from securefl.consortium.ledger.composition import as_event
from securefl.consortium.ledger.event_base import Mechanism
from securefl.consortium.ledger.hash_chain import LedgerError
from securefl.privacy.accounting.spent import privacy_unit

RANGES = {
    "noise_multiplier": (1e-6, 1e9),
    "clip_norm": CLIP_NORMS,
    "sampling_rate": SAMPLING_RATES,
    "steps": (1, 1e12),
    "variance": (1, 2.0**53),
    "sensitivity": CLIP_NORMS,
    "coordinates": (1, 2.0**40),
}
"""Least and largest number of each field, far beyond those of any run. Beyond them arithmetic has
no price, or one that says nothing."""
SAMPLERS = frozenset({"poisson", "full", "shuffled"})
"""What batches are drawn by; whether it fits the price is the check `sampler-accounted`."""
_ROUNDING = 1e-9


def mechanisms_known(case: AuditContext) -> Finding:
    """Every recorded mechanism is of a known kind, unit and adjacency, with numbers that can be."""
    count = 0

    def faults() -> Iterator[Finding]:
        nonlocal count
        for line, mechanism in recorded(case):
            count += 1
            yield from (failed(reason, line.where) for reason in _faults(mechanism))

    found = list(faults())  # before they are counted
    return worst_of(found, passed(f"{count:,} records of mechanisms"))


def _faults(mechanism: Mechanism) -> Iterator[str]:
    """Yield what is wrong with a record by itself."""
    for name, value in mechanism.model_dump(include=set(RANGES)).items():
        least, most = RANGES[name]
        if not least <= value <= most:
            yield f"{name.replace('_', ' ')} {value:g} is not within {least:g} to {most:g}"
            return
    try:
        wanted = privacy_unit(mechanism.unit).adjacency
    except KeyError:
        yield f"no privacy unit '{mechanism.unit}' is known"
        return
    if mechanism.sampler not in SAMPLERS:
        yield f"no sampler '{mechanism.sampler}' is known"
    if mechanism.adjacency != wanted:
        yield f"neighbours of a {mechanism.unit} are not '{mechanism.adjacency}'"
    try:
        event = as_event(mechanism)
    except LedgerError as error:
        yield str(error)
        return
    own = mechanism.model_dump(exclude=set(Mechanism.model_fields))
    # A record with fields of another kind of noise has two prices.
    if own != event.own_fields() or not math.isclose(
        event.noise_multiplier, mechanism.noise_multiplier, rel_tol=_ROUNDING
    ):
        yield f"these are not the fields of {mechanism.name}"
