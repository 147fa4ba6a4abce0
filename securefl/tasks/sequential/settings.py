"""Settings of the sequence models."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from securefl.tasks.common.settings import (
    Fraction,
    LocalModelSettings,
    RankingLoss,
    RankingSettings,
)


class SequenceLocalSettings(LocalModelSettings):
    """The same with a model of sequences, whose settings mean what they mean in section `model`."""

    dim: PositiveInt = 64
    hidden: PositiveInt = 64
    loss: RankingLoss = "sampled-softmax"
    purchases: PositiveInt = 128
    positions: PositiveInt = 8
    horizon: PositiveInt = 1
    history_dropout: Fraction = 0.5
    recall: NonNegativeFloat = 1.0
    popularity_step: PositiveFloat = 1.0


class SequenceSettings(RankingSettings):
    """What the models of purchases in order have in common."""

    dim: PositiveInt = 64
    hidden: PositiveInt = 64
    length: Annotated[int, Field(ge=2)] = Field(
        16, description="So many of the newest baskets are read in order; older ones count as one."
    )
    vectors: Literal["learned", "fixed"] = Field(
        "learned",
        description="Whether products have learned vectors, or fixed codes of the public hierarchy,"
        " between which little has to be learned.",
    )
    loss: RankingLoss = Field(
        "sampled-softmax", description="What purchases are trained to stand above."
    )
    negatives: PositiveInt = Field(
        512, description="Products drawn for a customer in each step, but with loss softmax."
    )
    purchases: PositiveInt = Field(
        128, description="So many purchases of a customer enter a step at most, drawn anew in each."
    )
    positions: PositiveInt = Field(
        8, description="Baskets of a customer that are foreseen in each step, drawn by weight."
    )
    horizon: PositiveInt = Field(
        1, description="So many baskets are foreseen at once: 1 is the next one alone."
    )
    history_dropout: Fraction = 0.5
    recall: NonNegativeFloat = Field(
        1.0, description="How much likeness to what she bought counts before training."
    )
    popularity_step: PositiveFloat = Field(
        1.0, description="Scale of a product's popularity, and root of how much faster it learns."
    )
    own: SequenceLocalSettings = SequenceLocalSettings()


class GruSettings(SequenceSettings):
    """Purchases in order, read by a gated recurrent unit."""

    name: Literal["gru"] = "gru"


class AttentionSettings(SequenceSettings):
    """Purchases in order, read by self-attention."""

    name: Literal["attention"] = "attention"
    heads: PositiveInt = 2

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.dim % self.heads or self.own.dim % self.heads:
            raise ValueError(f"dim and own.dim have to be multiples of heads = {self.heads}")
        return self
