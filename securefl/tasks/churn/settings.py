"""Settings of the churn models, and how cases are split."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, PositiveInt

from securefl.config.base import NamedSettings, Settings

WINDOWS: Final = (4, 8, 16)
"""Weeks before the moment over which baskets and spending are summed."""


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
    """Churn from a weighted sum of what is known of a customer."""

    name: Literal["logistic"] = "logistic"
    expected_share: Share = Field(
        0.08, description="Share not coming back that the model begins with; agreed, not counted."
    )


class MlpSettings(NamedSettings):
    """Churn from a weighted sum and a hidden layer beside it."""

    name: Literal["mlp"] = "mlp"
    expected_share: Share = 0.08
    hidden: PositiveInt = 16
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2


class ChurnSettings(Settings):
    """Cuts of the churn task."""

    min_baskets: PositiveInt = Field(
        5, description="A customer counts at a cut-off if she bought so many baskets before it."
    )
    active_weeks: PositiveInt = Field(
        52, description="A customer counts at a cut-off if she bought in so many weeks before it."
    )
    horizon_weeks: PositiveInt = Field(
        8, description="Who buys nothing in so many weeks after a cut-off has not come back."
    )
    history_weeks: PositiveInt = Field(52, description="So many weeks before a cut-off are seen.")
    training_cutoffs: PositiveInt = Field(
        5, description="Cut-offs to train on; a customer's cases at all of them are one unit."
    )
    step_weeks: PositiveInt = Field(4, description="Weeks between two of them.")
    profile: tuple[str, ...] = Field(
        (),
        description="What profiles say, as agreed words 'attribute=level', for example 'age=65+';"
        " a customer of whom it is unknown has none of them.",
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
