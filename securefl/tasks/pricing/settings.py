"""Settings of the elasticities, of the price list, and limits of recommended prices."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from securefl.config.base import NamedSettings, Settings
from securefl.tasks.common.settings import Fraction, Probability


class ElasticitySettings(NamedSettings):
    """Own-price elasticities by category, from sums over customers."""

    name: Literal["elasticity"] = "elasticity"
    reference: float = Field(
        -1.5,
        description="Elasticity at which customers' statistics are computed; a public constant that"
        " need only be near the result.",
    )
    influence: PositiveFloat = Field(
        3.0,
        description="Largest norm of a customer's statistics, which bounds each one's influence.",
    )


class PricingSettings(Settings):
    """Split settings of the pricing task, and constraints of a recommended price."""

    priced_share: Probability = Field(
        0.5, description="Share of weeks in which the price of a product must be known."
    )
    log_limit: PositiveFloat = Field(
        1.0, description="Clip of the log ratio of a price to the usual one."
    )
    min_mean: PositiveFloat = Field(
        5.0, description="Units per week that an evaluated product must sell."
    )
    test_steps: PositiveInt = Field(6, description="Held-out weeks at the end.")
    validation_steps: PositiveInt = Field(5, description="Weeks before them.")
    cost_share: Fraction = Field(
        0.7, description="Cost of a product to the retailer, as a share of its usual shelf price."
    )
    min_margin: Fraction = Field(
        0.05,
        description="Smallest margin of a recommended price over the cost, as a share of the cost.",
    )
    max_change: Fraction = Field(0.1, description="Largest change of a price from week to week.")
    confidence: Probability = Field(
        0.95, description="Confidence of the elasticity interval that a price is robust to."
    )
