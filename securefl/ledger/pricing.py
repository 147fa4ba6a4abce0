"""From recorded mechanisms to epsilon. An unknown mechanism is refused, never priced as nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from securefl.ledger.chain import LedgerError
from securefl.ledger.events import Mechanism, SkellamMechanism

if TYPE_CHECKING:
    from securefl.privacy.events import PrivacyEvent

SAMPLED_GAUSSIAN = "sampled-gaussian"
SAMPLED_SKELLAM = "sampled-skellam"


def compose(mechanisms: Sequence[Mechanism], delta: float, accountant: str) -> float:
    """Epsilon of all the mechanisms together; 0 for none.

    Args:
        mechanisms: Of one unit: epsilons of different units do not add up.
        delta: At which epsilon is wanted.
        accountant: "rdp" or "prv".

    Raises:
        LedgerError: If a mechanism is unknown, or the units differ.
        ConfigError: If there is no such accountant.
    """
    if not mechanisms:
        return 0.0
    if len({mechanism.unit for mechanism in mechanisms}) > 1:
        raise LedgerError("mechanisms of different units are not composed")
    events = [as_event(mechanism) for mechanism in mechanisms]
    epsilon: float = _accounting().epsilon_of(events, delta, accountant)
    return epsilon


def compose_shared(charges: Mapping[tuple[Mechanism, int], int], delta: float) -> float:
    """Epsilon for a customer whom several retailers know; infinite where no bound is known.

    Args:
        charges: For each mechanism of one step, and the number of her retailers that used it under
            one shared noise, how often.
        delta: At which epsilon is wanted.

    Raises:
        LedgerError: If a mechanism is unknown.
    """
    group = import_module("securefl.privacy.group")
    events = [
        (as_event(mechanism.model_copy(update={"steps": steps})), count)
        for (mechanism, count), steps in charges.items()
    ]
    epsilon: float = group.shared_epsilon(events, delta)
    return epsilon


def as_event(mechanism: Mechanism) -> PrivacyEvent:
    """The accountant's event for a recorded mechanism.

    Raises:
        LedgerError: If the mechanism is unknown, or cannot be priced as it was sampled.
    """
    maker = {SAMPLED_GAUSSIAN: _gaussian, SAMPLED_SKELLAM: _skellam}.get(mechanism.name)
    if maker is None:
        raise LedgerError(f"no price is known for the mechanism '{mechanism.name}'")
    try:
        return maker(mechanism)
    except ValueError as error:
        raise LedgerError(f"the mechanism cannot be priced: {error}") from None


def _gaussian(mechanism: Mechanism) -> PrivacyEvent:
    event: PrivacyEvent = _accounting().SampledGaussian(
        mechanism.noise_multiplier,
        mechanism.sampling_rate,
        mechanism.steps,
        mechanism.sampler,
    )
    return event


def _skellam(mechanism: Mechanism) -> PrivacyEvent:
    if not isinstance(mechanism, SkellamMechanism):
        raise ValueError("Skellam noise without its variance")
    if mechanism.sampler != "poisson" and mechanism.sampling_rate < 1:
        raise ValueError(f"{mechanism.sampler} batches are not amplified like Poisson samples")
    moved = import_module("securefl.privacy.sensitivity").Sensitivity(
        mechanism.sensitivity, mechanism.coordinates
    )
    event: PrivacyEvent = _accounting().SampledSkellam(
        mechanism.variance, moved, mechanism.sampling_rate, mechanism.steps
    )
    return event


def recorded(event: PrivacyEvent, facts: Mapping[str, Any]) -> Mechanism:
    """The mechanism that an event is written down as.

    Args:
        event: What happened.
        facts: The fields that say how, whatever the law of the noise.
    """
    if isinstance(event, _accounting().SampledSkellam):
        return SkellamMechanism(
            name=SAMPLED_SKELLAM,
            variance=event.variance,
            sensitivity=event.sensitivity.l2,
            coordinates=event.sensitivity.dimension,
            **facts,
        )
    return Mechanism(name=SAMPLED_GAUSSIAN, **facts)


def joined(mechanisms: Iterable[Mechanism]) -> tuple[Mechanism, ...]:
    """The same with equal mechanisms made one: composition minds neither order nor grouping."""
    steps: Counter[Mechanism] = Counter()
    for mechanism in mechanisms:
        steps[mechanism.model_copy(update={"steps": 1})] += mechanism.steps
    return tuple(one.model_copy(update={"steps": count}) for one, count in steps.items())


def _accounting() -> Any:  # noqa: ANN401 - a module
    """Opacus takes seconds to import, and a run without a budget has no use for it."""
    return import_module("securefl.privacy.accounting")
