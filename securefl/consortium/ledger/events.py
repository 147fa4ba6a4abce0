"""What a member writes down of a run: one signed entry an event, without gaps.

An entry says what happened and in which numbers; it holds no datum. What an auditor has to judge
(sampler, randomness, accountant, unit, adjacency) is text and not an enumeration, so that a wrong
one can be read and named.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from securefl.config.privacy import Protection

DIGEST_PATTERN = "^[0-9a-f]{64}$"
ZEROS = "0" * 64
"""In the place of a digest of what precedes the first entry."""

Digest = Annotated[str, Field(pattern=DIGEST_PATTERN)]
"""32 bytes in lower-case hex."""
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
"""RFC 3339, UTC, to the second."""
Name = Annotated[str, Field(min_length=1, max_length=200)]
LARGEST_INTEGER = (1 << 53) - 1
"""RFC 8785 section 3.2.2.3: JSON numbers are doubles, and larger integers have no one form."""
Count = Annotated[NonNegativeInt, Field(le=LARGEST_INTEGER)]
Probability = Annotated[float, Field(gt=0.0, lt=1.0)]


class Record(BaseModel):
    """A part of an entry: immutable, and strict about unknown keys and types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Mechanism(Record):
    """One private mechanism, used `steps` times: all that an accountant needs to price it.

    Attributes:
        name: "sampled-gaussian" is Gaussian noise on the sum over a random sample of units,
            "sampled-skellam" the same with Skellam noise.
        unit: Whose presence is hidden.
        adjacency: Between which data sets the two cannot be told apart.
        noise_multiplier: sigma; the noise on a sum has deviation sigma times the clip norm.
        clip_norm: Largest norm of a unit's contribution.
        sampling_rate: Probability of a unit to be in a step.
        steps: How many times.
        sampler: How the batches were really drawn.
        rng: Where noise and batches came from.
        accountant: Who priced it.
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
    """The same with Skellam noise on integers, whose price is not that of its deviation alone.

    Attributes:
        variance: Of the noise in the sum that is counted on, in squared integer units.
        sensitivity: What one unit moves the integers by, in Euclidean norm.
        coordinates: Of the sum.
    """

    variance: Annotated[PositiveInt, Field(le=LARGEST_INTEGER)]
    sensitivity: PositiveFloat
    coordinates: Annotated[PositiveInt, Field(le=LARGEST_INTEGER)]


AnyMechanism = SkellamMechanism | Mechanism
"""What an entry may say; the two have different fields."""


class Cap(Record):
    """What a unit of a data set may lose over the life of the data."""

    epsilon: PositiveFloat
    delta: Probability


class Start(Record):
    """The member takes part; the first entry of a run.

    Without differential privacy, unit, delta, accountant and epsilon are null: nothing is claimed.

    Attributes:
        config: Digest of the configuration in the agreement.
        code: Digest of the installed sources.
        code_version: Their version.
        policy: Digest of the member's policy file; null without one.
        data_set: Stands for the member's data set in all its runs, and says nothing about it.
        unit: Whose presence is hidden.
        delta: At which epsilon is given in this run's entries.
        accountant: Who prices this run's entries.
        cap: What the policy allows this unit over the life of the data.
        units: Commitment to the number of units; see `digests.units_commitment`.
        epsilon_before: What the data had paid before this run.
        history: All earlier mechanisms on the data, in this unit; equal ones are joined.
        unprotected_before: Earlier releases from the data without any noise.
    """

    kind: Literal["start"] = "start"
    config: Digest
    code: Digest
    code_version: Name
    policy: Digest | None
    data_set: Digest
    unit: Name | None
    delta: Probability | None
    accountant: Name | None
    cap: Cap | None
    units: Digest
    epsilon_before: NonNegativeFloat | None
    history: tuple[AnyMechanism, ...]
    unprotected_before: Count


class Release(Record):
    """An update is about to leave the member.

    Attributes:
        round: Number of the round, from 1.
        mode: How the update travels.
        dp: How single units are protected.
        model_before: Digest of the shared model that training started from.
        threshold: Fewest survivors that a sum may have, which in a complete graph is also how many
            shares unmask it; null in mode `plain`.
        cohort: Who was asked, in roster order.
        mechanism: What this release costs; null without differential privacy, and for a repeat.
        delta: At which the epsilons are given; null without differential privacy.
        epsilon_before: Over the life of the data, before this release.
        epsilon_after: Over the life of the data, with this release.
        repeat_of: Sequence number of the release whose update is sent again; it costs nothing.
    """

    kind: Literal["release"] = "release"
    round: Annotated[PositiveInt, Field(le=LARGEST_INTEGER)]
    mode: Literal["plain", "secure"]
    dp: Protection
    model_before: Digest
    threshold: Count | None
    cohort: tuple[Name, ...]
    mechanism: AnyMechanism | None
    delta: Probability | None
    epsilon_before: NonNegativeFloat | None
    epsilon_after: NonNegativeFloat | None
    repeat_of: Count | None


class Outcome(Record):
    """How a round ended, as far as this member can tell.

    Attributes:
        round: Number of the round.
        survivors: Whose updates are in the sum, in roster order.
        model_after: Digest of the shared model that the round ended with.
        transcript: Digest of the signed transcript of the masked sum; null in mode `plain`.
    """

    kind: Literal["outcome"] = "outcome"
    round: Annotated[PositiveInt, Field(le=LARGEST_INTEGER)]
    survivors: tuple[Name, ...]
    model_after: Digest
    transcript: Digest | None


RefusalReason = Literal[
    "budget", "cap", "task", "mode", "dp", "unit", "members", "threshold", "delta"
]


class Refusal(Record):
    """The member did not do what it was asked; nothing was trained.

    Attributes:
        round: Number of the round; 0 for the whole run.
        reason: Which rule of the policy or the budget forbids it.
        asked: The number that was asked for, where the rule has one.
        allowed: The number that the rule allows.
    """

    kind: Literal["refusal"] = "refusal"
    round: Count
    reason: RefusalReason
    asked: NonNegativeFloat | None
    allowed: NonNegativeFloat | None


class End(Record):
    """The run is over for this member.

    Attributes:
        rounds: Rounds that ended with an outcome.
        epsilon_after: Over the life of the data; null without differential privacy.
    """

    kind: Literal["end"] = "end"
    rounds: Count
    epsilon_after: NonNegativeFloat | None


Event = Annotated[
    Start | Release | Outcome | Refusal | End,
    Field(discriminator="kind"),
]


class Entry(Record):
    """One event of one member in one run, chained to the member's entry before it.

    Attributes:
        version: Of this format.
        run: Names the run.
        agreement: Digest of the consortium agreement.
        member: Whose entry it is.
        sequence: 0, 1, 2, ... for each member and run, without gaps.
        previous: Digest of the member's previous entry in this run; zeros for the first.
        time: When it was written, by the member's clock.
        event: What happened.
    """

    version: Literal[1] = 1
    run: Digest
    agreement: Digest
    member: Name
    sequence: Count
    previous: Digest
    time: Time
    event: Event


class SignedEntry(Record):
    """An entry with its member's signature (64 bytes in hex); a leaf of the coordinator's log."""

    entry: Entry
    signature: Annotated[str, Field(pattern="^[0-9a-f]{128}$")]
