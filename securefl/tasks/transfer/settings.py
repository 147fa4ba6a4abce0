"""Settings of the transfer model, and how its departments are split."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveInt,
)

from securefl.tasks.common.settings import (
    RecommendationSettings,
)
from securefl.tasks.content.settings import (
    _WITH_PRODUCTS,
    FeatureSettings,
    Mapped,
    RankerSettings,
)


class TransferLocalSettings(RankerSettings):
    """The retailer's local ranker of new departments; never released."""

    rank: PositiveInt = 32
    mapped: Mapped = _WITH_PRODUCTS


class TransferSettings(FeatureSettings):
    """The hybrid model, trained on some departments and then on others."""

    knows_products: ClassVar[bool] = True
    name: Literal["transfer"] = "transfer"
    rank: PositiveInt = Field(32, description="Rank of the map between features.")
    mapped: Mapped = _WITH_PRODUCTS
    own: TransferLocalSettings = TransferLocalSettings()


class TransferSplitSettings(RecommendationSettings):
    """Split settings of the transfer task; `min_products` are of the target departments."""

    departments: tuple[str, ...] = Field(
        ("COSMETICS", "DRUG GM", "NUTRITION"),
        description="The target: departments whose products are ranked.",
    )
    customers: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.05,
        description="Share of customers, by a hash, whose purchases of the target are trained on;"
        " the others are new to it.",
    )
    source_rounds: NonNegativeInt = Field(
        4, description="Rounds of training on the other departments before; 0 is a cold start."
    )
