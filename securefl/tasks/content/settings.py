"""Settings of the feature models."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal, Self, get_args

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from securefl.config.base import Settings
from securefl.tasks.common.settings import Fraction, RankingSettings

RANKED_COLD: Final = ("ndcg@10_expected", "hr@10", "ndcg@10")
"""The ranking metrics that are also reported over the cases of new products."""


def cold_metric(name: str) -> str:
    """Return the name of a ranking metric over the cases of new products."""
    return f"{name}_cold"


Feature = Literal["department", "category", "kind", "brand", "size", "price", "product"]


Mapped = Annotated[
    tuple[Feature, ...],
    Field(min_length=1, description="Features between which tastes carry over."),
]


_OF_CONTENT: Final[tuple[Feature, ...]] = ("category", "kind", "brand", "size", "price")


_WITH_PRODUCTS: Final[tuple[Feature, ...]] = (*_OF_CONTENT, "product")


class RankerSettings(Settings):
    """Purchases from product features of the catalogue."""

    rank: PositiveInt = Field(64, description="Rank of the map between features.")
    mapped: Mapped
    repeat: NonNegativeFloat = Field(
        1.0, description="Initial weight of similar earlier purchases."
    )
    popularity_step: PositiveFloat = Field(
        5.0, description="Scale of what is popular, and root of how much faster it learns."
    )
    popularity_taper: NonNegativeFloat = Field(
        0.0,
        description="A feature's scale is smaller by its codes over all products, to this power:"
        " one code of few belongs to many products, and moves them all.",
    )
    shown: Fraction = Field(
        0.5, description="Share of a customer's purchases that the model sees in a step."
    )
    id_dropout: Fraction = Field(
        0.0, description="Share of products that are known by features alone in a step."
    )


class ContentLocalSettings(RankerSettings):
    """The retailer's local model, trained without noise and never released."""

    mapped: Mapped = _OF_CONTENT
    learning_rate: PositiveFloat = 0.003
    batch_size: PositiveInt = 64
    epochs_a_round: PositiveInt = 2
    rounds: PositiveInt = Field(
        8, description="Largest number; training stops after two rounds without improvement."
    )
    ridge: PositiveFloat = Field(
        200.0, description="Regularisation, in customers, of the local item-to-item model."
    )


class HybridLocalSettings(ContentLocalSettings):
    """The same for models with product ids."""

    mapped: Mapped = _WITH_PRODUCTS
    id_dropout: Fraction = 0.2


class FeatureSettings(RankingSettings, RankerSettings):
    """A shared model and the retailer's local one."""

    knows_products: ClassVar[bool]
    own: RankerSettings

    @property
    def groups(self) -> tuple[Feature, ...]:
        """The features that distinguish products."""
        features: tuple[Feature, ...] = get_args(Feature)
        return features if self.knows_products else features[:-1]

    @model_validator(mode="after")
    def _knows_what_it_maps(self) -> Self:
        if "product" in (*self.mapped, *self.own.mapped) and not self.knows_products:
            raise ValueError("this model does not know products by themselves")
        return self


class ContentSettings(FeatureSettings):
    """Products by their features alone."""

    knows_products: ClassVar[bool] = False
    name: Literal["content"] = "content"
    mapped: Mapped = _OF_CONTENT
    own: ContentLocalSettings = ContentLocalSettings()


class HybridSettings(FeatureSettings):
    """Products by their features and, once they were sold, by their ids."""

    knows_products: ClassVar[bool] = True
    name: Literal["hybrid"] = "hybrid"
    mapped: Mapped = _WITH_PRODUCTS
    id_dropout: Fraction = 0.2
    own: HybridLocalSettings = HybridLocalSettings()
