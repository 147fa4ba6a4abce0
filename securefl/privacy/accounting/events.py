"""Privacy events: an algebra of mechanisms from which accountants compute epsilon.

The style is that of Google's `dp_accounting`: an event states what was done to the data and not
what it costs. Leaves are mechanisms (`GaussianDpEvent`, `SkellamDpEvent`), nodes state how they
were used (`PoissonSampledDpEvent`, `SelfComposedDpEvent`, `ComposedDpEvent`). An accountant that
does not know a leaf refuses the whole event; an unknown mechanism never counts as free.

Sensitivities are those of add-or-remove adjacency of one privacy unit.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from securefl.privacy.accounting.sensitivity import Sensitivity


@dataclass(frozen=True)
class DpEvent:
    """Something done to data; the base of all events."""


@dataclass(frozen=True)
class NoOpDpEvent(DpEvent):
    """Nothing was released; its epsilon is 0."""


@dataclass(frozen=True)
class NonPrivateDpEvent(DpEvent):
    """Something was released without noise; no epsilon covers it."""


@dataclass(frozen=True)
class GaussianDpEvent(DpEvent):
    """Gaussian noise on a sum of sensitivity 1.

    Attributes:
        noise_multiplier: sigma >= 0, in units of the sensitivity; 0 gives no privacy.
    """

    noise_multiplier: float


@dataclass(frozen=True)
class SkellamDpEvent(DpEvent):
    """Skellam noise on a sum of integers.

    Attributes:
        variance: Of the honest shares together, in squared integer units.
        sensitivity: Largest change of the sum by one unit.
    """

    variance: int
    sensitivity: Sensitivity


@dataclass(frozen=True)
class PoissonSampledDpEvent(DpEvent):
    """An event on a sample that contains each unit independently with the same probability.

    Attributes:
        sampling_probability: q in (0, 1]; with 1 the sample contains every unit.
        event: The event on the sample.
    """

    sampling_probability: float
    event: DpEvent


@dataclass(frozen=True)
class SelfComposedDpEvent(DpEvent):
    """The same event several times, composed adaptively.

    Attributes:
        event: The repeated event.
        count: Number of repetitions.
    """

    event: DpEvent
    count: int


@dataclass(frozen=True)
class ComposedDpEvent(DpEvent):
    """Several events on the same data.

    Attributes:
        events: The events, in order.
    """

    events: tuple[DpEvent, ...]


@dataclass(frozen=True)
class PrivacyEvent(DpEvent, ABC):
    """An event that fits one ledger record: steps of one mechanism on Poisson samples.

    It abbreviates `SelfComposedDpEvent(PoissonSampledDpEvent(q, mechanism), steps)`, which
    `expanded` returns; accountants see nothing else of it.
    """

    recorded_as: ClassVar[str]
    """The mechanism's name in ledger entries; it must never change, because entries are signed."""

    if TYPE_CHECKING:  # at run time a property here would be the default of a dataclass field

        @property
        def noise_multiplier(self) -> float:
            """Standard deviation of the noise over the Euclidean sensitivity."""

        @property
        def sampling_rate(self) -> float:
            """The sampling rate q in (0, 1]."""

        @property
        def steps(self) -> int:
            """Number of steps."""

        @property
        def sampler(self) -> str:
            """The scheme by which batches were drawn."""

    @abstractmethod
    def mechanism(self) -> DpEvent:
        """Return the mechanism that a step applies to its sample."""

    @abstractmethod
    def with_steps(self, steps: int) -> Self:
        """Return the same mechanism with another number of steps."""

    @abstractmethod
    def scale_sensitivity(self, times: int) -> Self:
        """Return the event for a unit with `times` the sensitivity, at sampling rate 1."""

    @classmethod
    @abstractmethod
    def of_record(cls, fields: Mapping[str, Any]) -> Self:
        """Return the event that the fields of a ledger record describe.

        Raises:
            ValueError: If they describe none, or one whose sampling scheme has no bound.
        """

    def own_fields(self) -> dict[str, Any]:
        """Return the fields of its ledger record beyond those that every mechanism has."""
        return {}

    def expanded(self) -> DpEvent:
        """Return the same event in terms of the algebra."""
        sampled = PoissonSampledDpEvent(self.sampling_rate, self.mechanism())
        return SelfComposedDpEvent(sampled, self.steps)


@dataclass(frozen=True)
class SampledGaussian(PrivacyEvent):
    """The Gaussian mechanism on a Poisson sample, `steps` times.

    Sensitivity 1 in units of the clip norm.

    Attributes:
        noise_multiplier: sigma >= 0; 0 gives no privacy.
        sampling_rate: q in (0, 1].
        steps: Number of steps.
        sampler: The scheme by which batches were drawn; only "poisson" is amplified by sampling.

    Raises:
        ValueError: If a value is out of range, or the batches were not Poisson samples.
    """

    recorded_as: ClassVar[str] = "sampled-gaussian"
    noise_multiplier: float
    sampling_rate: float
    steps: int
    sampler: str = "poisson"

    def __post_init__(self) -> None:
        if not (self.noise_multiplier >= 0 and math.isfinite(self.noise_multiplier)):
            raise ValueError(f"the noise multiplier is {self.noise_multiplier}")
        if not 0 < self.sampling_rate <= 1:
            raise ValueError(f"the sampling rate is {self.sampling_rate}, not in (0, 1]")
        if self.steps < 0:
            raise ValueError(f"{self.steps} steps")
        _check_sampler(self.sampler, self.sampling_rate)

    def mechanism(self) -> GaussianDpEvent:
        """See `PrivacyEvent`."""
        return GaussianDpEvent(self.noise_multiplier)

    def with_steps(self, steps: int) -> Self:
        """See `PrivacyEvent`."""
        return replace(self, steps=steps)

    def scale_sensitivity(self, times: int) -> Self:
        """See `PrivacyEvent`."""
        # The noise stays as it is; in units of a larger sensitivity it is smaller.
        return replace(self, noise_multiplier=self.noise_multiplier / times, sampling_rate=1.0)

    @classmethod
    def of_record(cls, fields: Mapping[str, Any]) -> Self:
        """See `PrivacyEvent`."""
        names = ("noise_multiplier", "sampling_rate", "steps", "sampler")
        return cls(*(fields[name] for name in names))


@dataclass(frozen=True)
class SampledSkellam(PrivacyEvent):
    """The Skellam mechanism on a Poisson sample, `steps` times.

    Attributes:
        variance: Of the honest shares together, in squared integer units.
        sensitivity: Largest change of the sum by one unit.
        sampling_rate: q in (0, 1].
        steps: Number of steps.

    Raises:
        ValueError: If a value is out of range.
    """

    recorded_as: ClassVar[str] = "sampled-skellam"
    variance: int
    sensitivity: Sensitivity
    sampling_rate: float
    steps: int

    def __post_init__(self) -> None:
        if self.variance < 1 or self.steps < 0 or not 0 < self.sampling_rate <= 1:
            raise ValueError(f"a value is out of range: {self}")

    @property
    def sampler(self) -> str:
        """See `PrivacyEvent`."""
        return "poisson"

    @property
    def noise_multiplier(self) -> float:
        """See `PrivacyEvent`; for comparison only, since epsilon also depends on the dimension."""
        return math.sqrt(self.variance) / self.sensitivity.l2

    def mechanism(self) -> SkellamDpEvent:
        """See `PrivacyEvent`."""
        return SkellamDpEvent(self.variance, self.sensitivity)

    def with_steps(self, steps: int) -> Self:
        """See `PrivacyEvent`."""
        return replace(self, steps=steps)

    def scale_sensitivity(self, times: int) -> Self:
        """See `PrivacyEvent`."""
        scaled = Sensitivity(times * self.sensitivity.l2, self.sensitivity.dimension)
        return replace(self, sensitivity=scaled, sampling_rate=1.0)

    def own_fields(self) -> dict[str, Any]:
        """See `PrivacyEvent`."""
        return {
            "variance": self.variance,
            "sensitivity": self.sensitivity.l2,
            "coordinates": self.sensitivity.dimension,
        }

    @classmethod
    def of_record(cls, fields: Mapping[str, Any]) -> Self:
        """See `PrivacyEvent`."""
        if "variance" not in fields:
            raise ValueError("Skellam noise without its variance")
        _check_sampler(fields["sampler"], fields["sampling_rate"])
        sensitivity = Sensitivity(fields["sensitivity"], fields["coordinates"])
        return cls(fields["variance"], sensitivity, fields["sampling_rate"], fields["steps"])


def _check_sampler(sampler: str, rate: float) -> None:
    """Refuse batches that the bounds for Poisson samples do not cover."""
    # Shuffled or fixed-size batches have weaker amplification; recording them as Poisson samples
    # would under-report epsilon. At rate 1 every scheme takes all units, and nothing is amplified.
    if sampler != "poisson" and rate < 1:
        raise ValueError(f"{sampler} batches are not amplified like Poisson samples")


@dataclass(frozen=True)
class Term:
    """A leaf of an event with the sampling and the repetitions above it.

    Attributes:
        mechanism: The leaf, or the smallest event that has no simpler form.
        sampling_probability: q of the sample that it was applied to.
        count: Number of repetitions.
    """

    mechanism: DpEvent
    sampling_probability: float
    count: int


def terms_of(event: DpEvent, count: int = 1) -> Iterator[Term]:
    """Yield the leaves of an event, in order.

    Composition multiplies and adds up. Bounds are known for a sample of a leaf only, so that a
    sample of anything else is yielded as a leaf by itself, which no accountant supports.
    """
    match event:
        case PrivacyEvent():
            yield from terms_of(event.expanded(), count)
        case ComposedDpEvent(events=events):
            for part in events:
                yield from terms_of(part, count)
        case SelfComposedDpEvent(event=part, count=times):
            yield from terms_of(part, count * times)
        case PoissonSampledDpEvent(sampling_probability=rate, event=part) if _is_leaf(part):
            yield Term(part, rate, count)
        case _:
            yield Term(event, 1.0, count)


def _is_leaf(event: DpEvent) -> bool:
    nodes = (PrivacyEvent, ComposedDpEvent, SelfComposedDpEvent, PoissonSampledDpEvent)
    return not isinstance(event, nodes)


_RECORDED: dict[str, type[PrivacyEvent]] = {}


def register_events(kinds: Iterable[type[PrivacyEvent]]) -> None:
    """Register events, so that ledger records can be read back as them.

    Raises:
        ValueError: If a name in records would have two meanings.
    """
    for kind in kinds:
        if _RECORDED.setdefault(kind.recorded_as, kind) is not kind:
            raise ValueError(f"'{kind.recorded_as}' is the record of another event")


def recorded_event(name: str) -> type[PrivacyEvent] | None:
    """Return the event class that ledger records name so; None if there is none."""
    return _RECORDED.get(name)


register_events((SampledGaussian, SampledSkellam))
