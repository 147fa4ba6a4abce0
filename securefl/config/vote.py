"""Whether members vote on each new model, and what their votes do."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from securefl.config.base import Settings


class VoteSettings(Settings):
    """A vote of all members on a new model, each by its own held-out cases.

    A rejected model is no result, and no round begins from it (docs/explanation/poisoning.md).
    """

    every: PositiveInt = Field(
        1,
        description="Rounds from one vote to the next; the last round has one in any case, and a"
        " round without one is no result.",
    )
    quorum: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.5,
        description="Share of the votes for or against that rejects; two members at least.",
    )
    absent: Literal["abstain", "reject"] = Field(
        "abstain", description="What a member counts as that gave no ballot."
    )
    repeats: NonNegativeInt = Field(
        2,
        description="So many rejected rounds in a row are repeated, each in the next round from"
        " the last accepted model; then the run stops. With 0 it stops at once.",
    )
    cases: bool = Field(
        False,
        description="Members look at their own held-out cases too, which takes as long as two"
        " evaluations; they do in any case where server.optimizer is not fedavg.",
    )
    worse: NonNegativeFloat = Field(
        0.05, description="Share of the decisive metric that a model may lose in a round."
    )
    exposure: NonNegativeFloat = Field(
        0.5, description="Share of the lists that a product may gain or lose in a round."
    )
    chance: NonNegativeFloat = Field(
        0.5, description="Added to both, divided by the root of the number of cases."
    )
    direction: Annotated[float, Field(ge=-1.0, le=1.0)] = Field(
        0.6,
        description="Least cosine between a member's own update and the change of the shared"
        " model, over that which its weight alone would give; under noise shares, half of it is its"
        " least share of the change beyond the noise.",
    )
    length: PositiveFloat = Field(
        1.4,
        description="So many times as long as a member's own update the mean of the others may be;"
        " more where its weight is below theirs.",
    )
    apart: PositiveFloat = Field(
        1.35,
        description="So many times as much as of honest updates of one length the mean of the"
        " others may have at right angles to a member's own.",
    )
    turn: Annotated[float, Field(gt=0.0, le=2.0)] = Field(
        0.2,
        description="So much less than a member's own update, as a difference of cosines, the mean"
        " of the others may keep its direction from one accepted round to the next.",
    )
    first: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        0.55,
        description="In a first round from an untrained model, without a budget: least part of a"
        " member's own update that the mean of the others has in the layer where it has most, as"
        " lengths go with the root of the samples. With 0 only what points the other way rejects."
        " Refused where no vote on round 1 reads it.",
    )
    row: PositiveFloat | None = Field(
        None,
        description="Deviations by which a product's row may move further than the usual one, where"
        " it is ten times as long, such as 12. By default none: in a model with a list of sales,"
        " honest rows stand out.",
    )
    share: Annotated[float, Field(gt=0.0, le=0.5)] = Field(
        0.1, description="Part of epsilon that is kept for all ballots of a run, under a budget."
    )
