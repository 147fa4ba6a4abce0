"""Settings that several tasks share: ranking models, and how purchases are split."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
)

from securefl.config.base import NamedSettings, Settings

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]


Probability = Annotated[float, Field(gt=0.0, lt=1.0)]


RankingLoss = Literal["softmax", "sampled-softmax", "bpr"]


class RankingSettings(NamedSettings):
    """Settings of a model that ranks products for customers."""


class FactorizationSettings(RankingSettings):
    """Matrix factorisation for purchases: customer vectors stay at the retailer."""

    name: Literal["mf"] = "mf"
    dim: PositiveInt = 64
    history_dropout: Fraction = Field(
        0.5, description="Share of a customer's purchases hidden from the model in each step."
    )
    loss: RankingLoss = Field("softmax", description="What purchases are trained to stand above.")
    negatives: PositiveInt = Field(
        256, description="Products drawn for a customer in each step, but with loss softmax."
    )


class HierarchicalSettings(RankingSettings):
    """Matrix factorisation with a layer of the retailer's own between products and customers."""

    name: Literal["hierarchical"] = "hierarchical"
    dim: PositiveInt = 64
    history_dropout: Fraction = 0.5
    loss: RankingLoss = "softmax"
    negatives: PositiveInt = 256
    rank: PositiveInt = Field(
        4, description="Rank of a retailer's own change of its customers' vectors."
    )


class NcfSettings(RankingSettings):
    """Neural collaborative filtering for purchases: customer vectors stay at the retailer."""

    name: Literal["ncf"] = "ncf"
    dim: PositiveInt = 64
    hidden: PositiveInt = 32
    dropout: Fraction = 0.2
    history_dropout: Fraction = 0.5
    positives: PositiveInt = Field(
        64, description="Purchases drawn for a customer in each step, by weight."
    )
    negatives: PositiveInt = Field(
        256, description="Products drawn for a customer in each step, that they compete with."
    )


class LocalModelSettings(Settings):
    """What a retailer trains for itself beside the shared model, without noise: never released."""

    factorization: FactorizationSettings = FactorizationSettings()
    factorization_rate: PositiveFloat = Field(0.002, description="Its learning rate, with Adam.")
    twin_rate: PositiveFloat = Field(
        0.01, description="Learning rate, with Adam, of the retailer's own model of this kind."
    )
    batch_size: PositiveInt = 64
    epochs_a_round: PositiveInt = 2
    rounds: PositiveInt = Field(
        10, description="At most; each model stops after two rounds without a better one."
    )


class ProfileSettings(RankingSettings):
    """Purchases from the kinds of things a customer bought: small enough to train privately."""

    name: Literal["profile"] = "profile"
    rank: PositiveInt = Field(16, description="Rank of the map between categories.")
    repeat: NonNegativeFloat = Field(
        2.0, description="How much earlier purchases of the same kind count before training."
    )
    popularity_step: PositiveFloat = Field(
        5.0, description="Scale of a product's popularity, and root of how much faster it learns."
    )
    shown: Fraction = Field(
        0.5,
        description="Share of her purchases that a customer is known by in a step; the model"
        " has to foresee the others.",
    )
    own: LocalModelSettings = LocalModelSettings()


class RecommendationSettings(Settings):
    """Cuts of the recommendation task."""

    min_households: PositiveInt = Field(
        20, description="A product belongs to the assortment if so many customers bought it."
    )
    min_products: PositiveInt = Field(
        20, description="A customer is trained on and evaluated from so many distinct products."
    )
    negatives: PositiveInt = Field(99, description="Sampled negatives a held-out purchase.")
    recency_days: PositiveFloat = Field(
        56.0, description="A purchase so many days before the end counts 1/e of one at the end."
    )
    recency_floor: NonNegativeFloat = Field(
        0.02, description="What every purchase counts on top, however old."
    )
    prior: NonNegativeFloat = Field(
        0.5,
        description="Strength of the retailer's own recent popularity in the scores; it is never "
        "released.",
    )


class NewProductSettings(RecommendationSettings):
    """Cuts of the tasks that rank new products as well."""

    cold: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.1,
        description="Share of products, by a hash, that count as new and are held out of training.",
    )
