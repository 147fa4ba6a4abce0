"""Settings of the forecasters, and of the split of series."""

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
    """The same inputs, for quantile forecasts."""

    name: Literal["quantile-forecaster"] = "quantile-forecaster"
    levels: tuple[Probability, ...] = Field(
        (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975),
        description="Probabilities of the forecast quantiles, ascending and with 0.5.",
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
    """Split settings of the demand task."""

    level: Literal["department", "category", "product"] = Field(
        "category", description="Level of the product hierarchy that defines a retailer's series."
    )
    step: Literal["week", "day"] = Field("week", description="Length of a step of time.")
    min_mean: NonNegativeFloat = Field(
        100.0,
        description="Mean over the training steps, in units, that an evaluated series must reach;"
        " applied by each retailer to its own series.",
    )
    min_training_mean: NonNegativeFloat = Field(
        20.0, description="Mean in units that a training series must reach."
    )
    test_steps: PositiveInt = Field(6, description="Held-out steps (weeks or days) at the end.")
    validation_steps: PositiveInt = Field(5, description="Steps before them, to choose a round.")
