"""Settings of the models that only recommendation trains."""

from __future__ import annotations

from typing import Literal

from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
)

from securefl.config.base import NamedSettings
from securefl.tasks.common.settings import Fraction, RankingSettings


class EaseSettings(RankingSettings):
    """Item-to-item scores in closed form, from a sum over customers that takes one round."""

    name: Literal["ease"] = "ease"
    level: Literal["product", "kind", "category"] = Field(
        "product", description="Level of the hierarchy on which co-purchases are counted."
    )
    items: PositiveInt = Field(
        2000,
        description="With level product: number of products, those bought by most customers.",
    )
    ridge: PositiveFloat = Field(
        1.0, description="Regularisation, in units of the mean count of an item."
    )
    own_ridge: PositiveFloat = Field(
        200.0,
        description="Regularisation, in customers, of the retailer's local item-to-item model of"
        " all products.",
    )


class RatingNcfSettings(NamedSettings):
    """The tutorial's rating classifier: all parameters are shared, as in the tutorial."""

    name: Literal["rating-ncf"] = "rating-ncf"
    dim: PositiveInt = 64
    hidden: PositiveInt = 128
    classes: PositiveInt = 5
    dropout: Fraction = 0.2
