"""Settings of the forecasters, and how series are split."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    field_validator,
)

from securefl.config.base import NamedSettings, Settings
from securefl.tasks.common.settings import (
    Fraction,
    Probability,
)

MEDIAN: Final = 0.5


class NetworkSettings(NamedSettings):
    """Sizes of the network that corrects the recent mean of a series."""

    dim: PositiveInt = 4
    hidden: PositiveInt = 64
    layers: PositiveInt = 1
    dropout: Fraction = 0.3


class ForecasterSettings(NetworkSettings):
    """Demand from lags, moving averages, promotions and embeddings, on a log target."""

    name: Literal["forecaster"] = "forecaster"
    huber_delta: PositiveFloat = 0.3


class QuantileForecasterSettings(NetworkSettings):
    """The same inputs, and how much sells at most with each of a few probabilities."""

    name: Literal["quantile-forecaster"] = "quantile-forecaster"
    levels: tuple[Probability, ...] = Field(
        (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975),
        description="Probabilities, ascending and with 0.5; each has a forecast of its own.",
    )

    @field_validator("levels")
    @classmethod
    def _ascending(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        if list(levels) != sorted(set(levels)) or MEDIAN not in levels:
            raise ValueError("have to ascend and to hold 0.5")
        return levels


class TutorialForecasterSettings(NamedSettings):
    """The tutorial's forecaster: calendar features alone, raw target, final ReLU."""

    name: Literal["tutorial-forecaster"] = "tutorial-forecaster"
    hidden: PositiveInt = 64
    layers: PositiveInt = 3
    dropout: Fraction = 0.1


class DemandSettings(Settings):
    """Cuts of the demand task."""

    level: Literal["department", "category", "product"] = Field(
        "category", description="What a series is, at each retailer."
    )
    step: Literal["week", "day"] = Field("week", description="Length of a step of time.")
    min_mean: NonNegativeFloat = Field(
        100.0,
        description="A series is evaluated if its mean over the training steps reaches so many "
        "units; each retailer decides on its own.",
    )
    min_training_mean: NonNegativeFloat = Field(
        20.0, description="A series is trained on if its mean reaches so many units."
    )
    test_steps: PositiveInt = Field(6, description="Held-out steps (weeks or days) at the end.")
    validation_steps: PositiveInt = Field(5, description="Steps before them, to choose a round.")
