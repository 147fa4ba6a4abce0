"""Settings of the churn models, and of the split into cases."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, PositiveInt

from securefl.config.base import NamedSettings, Settings

WINDOWS: Final = (4, 8, 16)
"""Weeks before the observation date over which baskets and spending are summed."""


FEATURES: Final = (
    "recency",
    *(f"baskets in {weeks} weeks" for weeks in WINDOWS),
    *(f"value in {weeks} weeks" for weeks in WINDOWS),
    "value of a basket",
    "products",
    "categories",
    "share discounted",
    "lines discounted",
    "mean gap",
    "spread of gaps",
    "recency over mean gap",
    "recency over longest gap",
    "gaps as long as the absence",
    "trend of baskets",
    "trend of value",
)


Share = Annotated[float, Field(gt=0.0, lt=1.0)]


class LogisticSettings(NamedSettings):
    """Churn from a weighted sum of a customer's features."""

    name: Literal["logistic"] = "logistic"
    expected_share: Share = Field(
        0.08,
        description="Initial share of churners in the model; agreed, not counted in data.",
    )


class MlpSettings(NamedSettings):
    """Churn from a weighted sum plus a hidden layer."""

    name: Literal["mlp"] = "mlp"
    expected_share: Share = 0.08
    hidden: PositiveInt = 16
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2


class ChurnSettings(Settings):
    """Split settings of the churn task."""

    min_baskets: PositiveInt = Field(
        5, description="Baskets before a cut-off that a customer needs to be a case of it."
    )
    active_weeks: PositiveInt = Field(
        52, description="Weeks before a cut-off in which a customer must have bought to be a case."
    )
    horizon_weeks: PositiveInt = Field(
        8, description="A customer without a purchase in so many weeks after a cut-off has churned."
    )
    history_weeks: PositiveInt = Field(
        52, description="Weeks before a cut-off whose purchases are features."
    )
    training_cutoffs: PositiveInt = Field(
        5, description="Training cut-offs; a customer's cases at all of them are one privacy unit."
    )
    step_weeks: PositiveInt = Field(4, description="Weeks between two of them.")
    profile: tuple[str, ...] = Field(
        (),
        description="Profile attributes, as agreed words 'attribute=level', for example 'age=65+';"
        " a customer for whom it is unknown has none of them.",
    )
    events: tuple[str, ...] = Field(
        (),
        description="Events that count, as agreed words 'event' or 'event:department', for example"
        " 'campaign' or 'view:GROCERY'.",
    )

    @property
    def features(self) -> int:
        """Number of features F of a case."""
        return len(FEATURES) + len(self.profile) + 2 * len(self.events)
