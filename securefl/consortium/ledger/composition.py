"""Privacy composition of recorded mechanisms.

An unknown mechanism is refused; it never counts as free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from securefl.consortium.ledger.event_base import Mechanism, SkellamMechanism
from securefl.consortium.ledger.hash_chain import LedgerError
from securefl.privacy.accounting.events import (
    PrivacyEvent,
    SampledGaussian,
    SampledSkellam,
    recorded_event,
)

if TYPE_CHECKING:  # Opacus takes seconds to import, and only a budget needs it
    from securefl.privacy.accounting.accountant import AccountantName

SAMPLED_GAUSSIAN = SampledGaussian.recorded_as
SAMPLED_SKELLAM = SampledSkellam.recorded_as


def compose(mechanisms: Sequence[Mechanism], delta: float, accountant: str) -> float:
    """Return epsilon of the composition of mechanisms; 0 for none.

    Args:
        mechanisms: Mechanisms of one privacy unit; losses of different units do not compose.
        delta: Target delta.
        accountant: "pld", "prv" or "rdp".

    Raises:
        LedgerError: If a mechanism is unknown, its numbers are beyond the accountant, or the
            units differ.
        ConfigError: If there is no such accountant.
    """
    if not mechanisms:
        return 0.0
    if len({mechanism.unit for mechanism in mechanisms}) > 1:
        raise LedgerError("mechanisms of different units are not composed")
    from securefl.privacy.accounting.accountant import epsilon_of

    events = [as_event(mechanism) for mechanism in mechanisms]
    try:
        return epsilon_of(events, delta, cast("AccountantName", accountant))
    except (ArithmeticError, ValueError) as error:
        raise LedgerError(f"these mechanisms cannot be priced: {error}") from None


def compose_shared(charges: Mapping[tuple[Mechanism, int], int], delta: float) -> float:
    """Return epsilon for a customer of several retailers; infinite where no bound is known.

    Args:
        charges: Number of steps, by mechanism (of one step) and number of the customer's retailers
            that take part under one shared noise.
        delta: Target delta.

    Raises:
        LedgerError: If a mechanism is unknown, or its numbers are beyond the accountant.
    """
    from securefl.privacy.accounting.group_privacy import shared_epsilon

    events = [
        (as_event(mechanism.model_copy(update={"steps": steps})), count)
        for (mechanism, count), steps in charges.items()
    ]
    try:
        return shared_epsilon(events, delta)
    except (ArithmeticError, ValueError) as error:
        raise LedgerError(f"these mechanisms cannot be priced: {error}") from None


def as_event(mechanism: Mechanism) -> PrivacyEvent:
    """Return the accountant's event for a recorded mechanism.

    Raises:
        LedgerError: If the mechanism is unknown, or cannot be accounted with its sampler.
    """
    kind = recorded_event(mechanism.name)
    if kind is None:
        raise LedgerError(f"no price is known for the mechanism '{mechanism.name}'")
    try:
        return kind.of_record(mechanism.model_dump())
    except ValueError as error:
        raise LedgerError(f"the mechanism cannot be priced: {error}") from None


def recorded(event: PrivacyEvent, facts: Mapping[str, Any]) -> Mechanism:
    """Return the ledger record of an event.

    Args:
        event: The accountant's event.
        facts: Fields of the record that do not depend on the noise distribution.
    """
    own = event.own_fields()
    kind = SkellamMechanism if own else Mechanism
    return kind(name=event.recorded_as, **own, **facts)


def joined(mechanisms: Iterable[Mechanism]) -> tuple[Mechanism, ...]:
    """Merge equal mechanisms; composition depends neither on order nor on grouping."""
    steps: Counter[Mechanism] = Counter()
    for mechanism in mechanisms:
        steps[mechanism.model_copy(update={"steps": 1})] += mechanism.steps
    return tuple(one.model_copy(update={"steps": count}) for one, count in steps.items())
