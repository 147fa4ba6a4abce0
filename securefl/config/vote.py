"""Whether members vote on each new model, and what their votes do."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveInt

from securefl.config.base import Settings


class VoteSettings(Settings):
    """A vote of all members on a new model, each by its own held-out cases.

    A rejected model is no result, and stops the run (docs/explanation/poisoning.md).
    """

    every: PositiveInt = Field(1, description="Rounds from one vote to the next.")
    quorum: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.5,
        description="Share of the votes for or against that rejects; two members at least.",
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
