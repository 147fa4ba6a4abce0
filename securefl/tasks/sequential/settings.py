"""Settings of the sequence models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
)

from securefl.tasks.common.settings import (
    Fraction,
    LocalModelSettings,
    RankingLoss,
    RankingSettings,
    none_drawn,
)


class SequenceLocalSettings(LocalModelSettings):
    """Local models with one of sequences, whose settings are those of section `model`."""

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
    """Common settings of the sequence models."""

    dim: PositiveInt = 64
    hidden: PositiveInt = 64
    length: Annotated[int, Field(ge=2)] = Field(
        16, description="Number of newest baskets that are read in order; older ones count as one."
    )
    vectors: Literal["learned", "fixed"] = Field(
        "learned",
        description="Whether products have learned vectors, or fixed codes of the public hierarchy,"
        " between which little has to be learned.",
    )
    loss: RankingLoss = Field("sampled-softmax", description="Ranking loss of the purchases.")
    negatives: PositiveInt = Field(
        512, description="Products sampled for a customer in each step, except with loss softmax."
    )
    purchases: PositiveInt = Field(
        128, description="Largest number of a customer's purchases in a step, resampled in each."
    )
    positions: PositiveInt = Field(
        8, description="Baskets of a customer that are predicted in each step, sampled by weight."
    )
    horizon: PositiveInt = Field(
        1, description="Number of baskets that are predicted at once: 1 is the next one alone."
    )
    history_dropout: Fraction = 0.5
    recall: NonNegativeFloat = Field(
        1.0, description="Initial weight of similarity to earlier purchases."
    )
    popularity_step: PositiveFloat = Field(
        1.0, description="Scale of a product's popularity, and root of how much faster it learns."
    )
    own: SequenceLocalSettings = SequenceLocalSettings()

    def misfit(self, *, budget: bool) -> str | None:
        """See `NamedSettings`: the local model beside it draws as many, by a loss of its own."""
        return none_drawn(self, [self.loss, self.own.loss] if budget else [self.loss])


class GruSettings(SequenceSettings):
    """Purchases in order, read by a gated recurrent unit."""

    name: Literal["gru"] = "gru"


class AttentionSettings(SequenceSettings):
    """Purchases in order, read by self-attention."""

    name: Literal["attention"] = "attention"
    heads: PositiveInt = 2

    def misfit(self, *, budget: bool) -> str | None:
        """See `NamedSettings`: the local model beside it has as many heads."""
        read = {"dim": self.dim} | ({"own.dim": self.own.dim} if budget else {})
        uneven = next((name for name, dim in read.items() if dim % self.heads), None)
        if uneven is not None:
            return f"{uneven}: it has to be a multiple of heads = {self.heads}"
        return super().misfit(budget=budget)
