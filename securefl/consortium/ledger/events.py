"""Ledger events of a run, and the signed entries that hold them.

An entry states events and their parameters, and contains no data of customers. What an auditor has
to judge (sampler, randomness, accountant, privacy unit, adjacency) is text and not an enumeration,
so that a wrong value parses and is named by a check.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from securefl.config.privacy import Protection
from securefl.consortium.ledger.event_base import (
    LARGEST_INTEGER,
    AnyMechanism,
    Count,
    Digest,
    Name,
    Probability,
    Record,
    Time,
)
from securefl.consortium.ledger.vote_events import Ballot, Vote


class Cap(Record):
    """Lifetime cap of a privacy unit of a data set."""

    epsilon: PositiveFloat
    delta: Probability


class Start(Record):
    """Start of participation; the first entry of a run.

    Without differential privacy, unit, delta, accountant and epsilon are null: no claim is made.

    Attributes:
        config: Digest of the configuration in the agreement.
        code: Digest of the installed sources.
        code_version: Version of the installed sources.
        policy: Digest of the member's policy; null without one.
        data_set: Random pseudonym of the member's data set, the same in all its runs.
        unit: Privacy unit.
        delta: Delta of the epsilons in this run's entries.
        accountant: Accountant of the epsilons in this run's entries.
        cap: The policy's lifetime cap for this privacy unit.
        units: Commitment to the number of privacy units; see `digests.units_commitment`.
        epsilon_before: Epsilon spent on the data before this run.
        history: All earlier mechanisms on the data for this privacy unit; equal ones are merged.
            With them an auditor can recompute `epsilon_before`.
        unprotected_before: Number of earlier releases from the data without noise.
        other_units: All earlier mechanisms on the data for other privacy units; equal ones are
            merged. They are no part of `epsilon_before`, and they are not free either.
        start_model: Digest of the shared model before the first round, as the member computed it
            from the agreement, before it was asked to train; null for a query.
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
    other_units: tuple[AnyMechanism, ...] = ()
    start_model: Digest | None = None

    @model_serializer(mode="wrap")
    def _left_out_where_empty(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Earlier versions know no such fields. Without them, their entries keep bytes and
        # signatures.
        tree: dict[str, Any] = handler(self)
        later = ("other_units", "start_model")
        return {name: value for name, value in tree.items() if value or name not in later}


class Release(Record):
    """Release of an update, recorded before it leaves the member.

    Attributes:
        round: Number of the round, from 1.
        mode: Aggregation mode.
        dp: Differential-privacy mode.
        model_before: Digest of the shared model that training started from.
        threshold: Smallest number of survivors in a sum; in a complete graph also the number of
            shares that unmask it; null in mode `plain`.
        cohort: Members of the cohort, in roster order.
        mechanism: The charged mechanism; null without differential privacy, and for a repeat.
        delta: Delta of the epsilons; null without differential privacy.
        epsilon_before: Epsilon over the life of the data, before this release.
        epsilon_after: Epsilon over the life of the data, with this release.
        repeat_of: Sequence number of the release whose update is sent again at no cost.
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


class ScoreRelease(Record):
    """Release of the scores of a run, in a masked sum of their own; recorded before evaluation.

    Attributes:
        round: Number of the sum: one more than the rounds of the run.
        model: Digest of the shared model that is scored.
        scores: Digest of the bounds of all scores in the sum; see `score_plan.table_digest`.
        threshold: Smallest number of survivors in the sum.
        cohort: Members that are asked, in roster order.
        mechanism: The charged mechanism; its clip norm is in steps of the integers in the sum.
        delta: Delta of the epsilons.
        epsilon_before: Epsilon over the life of the data, before this release.
        epsilon_after: Epsilon over the life of the data, with this release.
    """

    kind: Literal["score-release"] = "score-release"
    round: Annotated[PositiveInt, Field(le=LARGEST_INTEGER)]
    model: Digest
    scores: Digest
    threshold: Count
    cohort: tuple[Name, ...]
    mechanism: AnyMechanism
    delta: Probability
    epsilon_before: NonNegativeFloat
    epsilon_after: NonNegativeFloat


class Outcome(Record):
    """Outcome of a round that this member saw end: it is in the sum, and verified it.

    In mode `plain` no member sees a sum; there it sent an update, and was told the rest.

    Attributes:
        round: Number of the round.
        survivors: Members whose updates are in the sum, in roster order.
        model_after: Digest of the shared model after the round.
        transcript: Digest of the signed transcript of the masked sum; null in mode `plain`.
        layout: Digest of names and shapes of the model's tensors, in the order of its values; see
            `ml.vectors.layout_digest`. Null for a query.
    """

    kind: Literal["outcome"] = "outcome"
    round: Annotated[PositiveInt, Field(le=LARGEST_INTEGER)]
    survivors: tuple[Name, ...]
    model_after: Digest
    transcript: Digest | None
    layout: Digest | None = None

    @model_serializer(mode="wrap")
    def _left_out_where_empty(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        tree: dict[str, Any] = handler(self)
        return {name: value for name, value in tree.items() if value or name != "layout"}


class UnseenOutcome(Record):
    """End of a round that this member did not see; it vouches for no survivors and no model.

    Attributes:
        round: Number of the round.
        reason: Class of the member's own error that kept it out of the sum, by its name on the
            wire; null where it made none. The error's text, which may hold data, is not here.
    """

    kind: Literal["unseen-outcome"] = "unseen-outcome"
    round: Annotated[PositiveInt, Field(le=LARGEST_INTEGER)]
    reason: Annotated[str, Field(pattern=r"^[A-Za-z]{1,60}$")] | None = None

    @model_serializer(mode="wrap")
    def _left_out_where_null(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # As in `Start`: entries of earlier versions keep bytes and signatures.
        tree: dict[str, Any] = handler(self)
        return {name: value for name, value in tree.items() if value is not None}


RefusalReason = Literal[
    "budget", "cap", "task", "mode", "dp", "unit", "members", "threshold", "delta", "data"
]


class Refusal(Record):
    """Refusal of a round or run; nothing was trained.

    Attributes:
        round: Number of the round; 0 for the whole run.
        reason: The violated rule of the policy or the budget; `data` if there is too little to
            learn from.
        asked: The requested number, for rules with a limit.
        allowed: The limit.
    """

    kind: Literal["refusal"] = "refusal"
    round: Count
    reason: RefusalReason
    asked: NonNegativeFloat | None
    allowed: NonNegativeFloat | None


QuestionRefusal = Literal["question", "protection", "phase", "round", "again", "model"]


class RefusedQuestion(Record):
    """Refusal of a question that the member's table of answers does not allow; nothing left.

    Attributes:
        question: Its kind, and the fields that choose what is answered.
        phase: Where the run stood when it was first asked.
        reason: What the table says against it.
    """

    kind: Literal["refused-question"] = "refused-question"
    question: Name
    phase: Name
    reason: QuestionRefusal


class End(Record):
    """End of the run at this member.

    Attributes:
        rounds: Number of rounds that ended with an outcome.
        epsilon_after: Epsilon over the life of the data; null without differential privacy.
    """

    kind: Literal["end"] = "end"
    rounds: Count
    epsilon_after: NonNegativeFloat | None


Charging = Release | ScoreRelease | Ballot
"""Events that may charge a mechanism, with epsilon before and after."""

Event = Annotated[
    Start
    | Release
    | ScoreRelease
    | Outcome
    | UnseenOutcome
    | Ballot
    | Vote
    | Refusal
    | RefusedQuestion
    | End,
    Field(discriminator="kind"),
]


class Entry(Record):
    """One event of one member in one run, chained to the member's previous entry.

    Attributes:
        version: Version of this format.
        run: Run id.
        agreement: Digest of the consortium agreement.
        member: Author of the entry.
        sequence: 0, 1, 2, ... for each member and run, without gaps.
        previous: Digest of the member's previous entry in this run; zeros for the first.
        time: Time of writing, by the member's clock.
        event: The event.
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
