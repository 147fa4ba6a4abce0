"""Settings shared by several tasks: ranking models, and the split of purchases."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Protocol, Self, TypeVar

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from securefl.config.base import NamedSettings, Settings

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]


Probability = Annotated[float, Field(gt=0.0, lt=1.0)]


RankingLoss = Literal["softmax", "sampled-softmax", "bpr"]


class RankingSettings(NamedSettings):
    """Settings of a model that ranks products for customers."""


def none_drawn(settings: _Drawing, losses: Iterable[RankingLoss]) -> str | None:
    """Return that a number of drawn competitors is set where all losses take all products."""
    if set(losses) == {"softmax"} and settings.first_changed(["negatives"]):
        return "negatives: loss 'softmax' takes all products and draws none"
    return None


class _Drawing(Protocol):
    @property
    def loss(self) -> RankingLoss: ...

    def first_changed(self, names: Iterable[str]) -> str | None: ...


DrawingT = TypeVar("DrawingT", bound=_Drawing)


def negatives_are_drawn(settings: DrawingT) -> DrawingT:
    """Refuse a number of drawn competitors where the loss takes all products.

    Raises:
        ValueError: If there is one.
    """
    if (why := none_drawn(settings, [settings.loss])) is not None:
        raise ValueError(why)
    return settings


class FactorizationSettings(RankingSettings):
    """Matrix factorisation for purchases: customer vectors stay at the retailer."""

    name: Literal["mf"] = "mf"
    dim: PositiveInt = 64
    history_dropout: Fraction = Field(
        0.5, description="Share of a customer's purchases hidden from the model in each step."
    )
    loss: RankingLoss = Field("softmax", description="Ranking loss of the purchases.")
    negatives: PositiveInt = Field(
        256, description="Products sampled for a customer in each step, except with loss softmax."
    )
    _draws = model_validator(mode="after")(negatives_are_drawn)


class HierarchicalSettings(RankingSettings):
    """Matrix factorisation with a local layer of the retailer between products and customers."""

    name: Literal["hierarchical"] = "hierarchical"
    dim: PositiveInt = 64
    history_dropout: Fraction = 0.5
    loss: RankingLoss = "softmax"
    negatives: PositiveInt = 256
    _draws = model_validator(mode="after")(negatives_are_drawn)
    rank: PositiveInt = Field(
        4, description="Rank of the retailer's local change of its customers' vectors."
    )


class NcfSettings(RankingSettings):
    """Neural collaborative filtering for purchases: customer vectors stay at the retailer."""

    name: Literal["ncf"] = "ncf"
    dim: PositiveInt = 64
    hidden: PositiveInt = 32
    dropout: Fraction = 0.2
    history_dropout: Fraction = 0.5
    positives: PositiveInt = Field(
        64, description="Purchases sampled for a customer in each step, by weight."
    )
    negatives: PositiveInt = Field(
        256, description="Products sampled for a customer in each step, as their negatives."
    )


class LocalModelSettings(Settings):
    """The retailer's local models, trained without noise and never released."""

    factorization: FactorizationSettings = FactorizationSettings()
    factorization_rate: PositiveFloat = Field(0.002, description="Its learning rate, with Adam.")
    twin_rate: PositiveFloat = Field(
        0.01, description="Learning rate, with Adam, of the retailer's local model of this kind."
    )
    batch_size: PositiveInt = 64
    epochs_a_round: PositiveInt = 2
    rounds: PositiveInt = Field(
        10, description="Largest number; each model stops after two rounds without improvement."
    )


class ProfileSettings(RankingSettings):
    """Purchases from categories bought before: small enough to train privately."""

    name: Literal["profile"] = "profile"
    learns: Literal["auto", "categories", "products"] = Field(
        "auto",
        description="What is learned under a budget: a map between categories, or factors of single"
        " products; auto decides by the agreed numbers of customers and products and by the noise.",
    )
    dim: PositiveInt = Field(32, description="Length of a product's factors.")
    rank: PositiveInt = Field(16, description="Rank of the map between categories.")
    repeat: NonNegativeFloat = Field(
        2.0, description="Initial weight of earlier purchases of the same kind."
    )
    popularity_step: PositiveFloat = Field(
        5.0, description="Scale of a product's popularity, and root of how much faster it learns."
    )
    shown: Fraction = Field(
        0.5,
        description="Share of a customer's purchases that the model sees in a step; it predicts"
        " the others.",
    )
    own: LocalModelSettings = LocalModelSettings()

    @model_validator(mode="after")
    def _has_factors(self) -> Self:
        if self.learns == "categories" and self.first_changed(["dim"]):
            raise ValueError("dim: a map between categories has no factors of products")
        return self


class RecommendationSettings(Settings):
    """Split settings of the recommendation task."""

    min_households: PositiveInt = Field(
        20, description="Customers that must have bought a product of the assortment."
    )
    min_products: PositiveInt = Field(
        20,
        description="Distinct products that a customer in training or evaluation bought at least.",
    )
    negatives: PositiveInt = Field(99, description="Sampled negatives per held-out purchase.")
    offered: Literal["sold", "assortment"] = Field(
        "sold",
        description="What a held-out purchase competes with: products that the retailer sold in the"
        " period, or all of the agreed assortment.",
    )
    recency_days: PositiveFloat = Field(
        56.0, description="Days after which the weight of a purchase has fallen to 1/e."
    )
    recency_floor: NonNegativeFloat = Field(
        0.02, description="Weight added to every purchase, however old."
    )
    prior: NonNegativeFloat = Field(
        0.5,
        description="Weight of the retailer's own recent popularity in the scores; never released.",
    )
    held_out_days: PositiveInt | None = Field(
        None,
        description="Length of each of two windows at the end of the period: training ends before"
        " them for all, and validation and test purchases come from the first and the second. None"
        " holds out each customer's own last baskets.",
    )


class NewProductSettings(RecommendationSettings):
    """Split settings of the tasks that also rank new products."""

    cold: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.1,
        description="Share of products, by a hash, that count as new and are held out of training.",
    )

    @model_validator(mode="after")
    def _has_its_own_split(self) -> Self:
        if self.held_out_days is not None:
            raise ValueError("held_out_days: new products are held out by a hash and not by date")
        if self.offered != "sold":
            raise ValueError("offered: new products compete with what the retailer sold")
        return self
