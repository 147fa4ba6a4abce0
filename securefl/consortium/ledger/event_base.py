"""What all ledger events are made of: strict records, digests, and recorded mechanisms."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

DIGEST_PATTERN = "^[0-9a-f]{64}$"
ZEROS = "0" * 64
"""The `previous` field of the first entry."""

Digest = Annotated[str, Field(pattern=DIGEST_PATTERN)]
"""32 bytes in lower-case hex."""
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
"""RFC 3339, UTC, to the second."""
Name = Annotated[str, Field(min_length=1, max_length=200)]
LARGEST_INTEGER = (1 << 53) - 1
"""RFC 8785 section 3.2.2.3: JSON numbers are doubles; larger integers have no canonical form."""
Count = Annotated[NonNegativeInt, Field(le=LARGEST_INTEGER)]
Probability = Annotated[float, Field(gt=0.0, lt=1.0)]


class Record(BaseModel):
    """Base of all records: immutable, and strict about unknown keys and types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Mechanism(Record):
    """One private mechanism, applied `steps` times, with all that an accountant needs.

    Attributes:
        name: "sampled-gaussian" is Gaussian noise on the sum over a random sample of units,
            "sampled-skellam" the same with Skellam noise.
        unit: Privacy unit.
        adjacency: Relation between neighbouring data sets.
        noise_multiplier: sigma; the noise on a sum has standard deviation sigma times clip norm.
        clip_norm: Largest Euclidean norm of a privacy unit's contribution.
        sampling_rate: Probability that a privacy unit is sampled in a step.
        steps: Number of steps.
        sampler: Sampling scheme as implemented.
        rng: Source of noise and batches, as implemented.
        accountant: Accountant of the recorded epsilon.
    """

    name: Name
    unit: Name
    adjacency: Name
    noise_multiplier: NonNegativeFloat
    clip_norm: PositiveFloat
    sampling_rate: Annotated[float, Field(gt=0.0, le=1.0)]
    steps: Annotated[PositiveInt, Field(le=LARGEST_INTEGER)]
    sampler: Name
    rng: Name
    accountant: Name


class SkellamMechanism(Mechanism):
    """A mechanism with Skellam noise on integers, whose loss depends on more than sigma.

    Attributes:
        variance: Guaranteed variance of the noise in the sum, in squared integer units.
        sensitivity: Euclidean sensitivity of the integer sum to one privacy unit.
        coordinates: Number of coordinates of the sum.
    """

    variance: Annotated[PositiveInt, Field(le=LARGEST_INTEGER)]
    sensitivity: PositiveFloat
    coordinates: Annotated[PositiveInt, Field(le=LARGEST_INTEGER)]


AnyMechanism = SkellamMechanism | Mechanism
"""Mechanisms that an entry may hold; the two have different fields."""
