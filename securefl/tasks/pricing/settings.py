"""Settings of the elasticities, how prices are read, and what limits a new one."""

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
        description="Elasticity at which customers' statistics are taken; it need only be near,"
        " and is a public constant.",
    )
    influence: PositiveFloat = Field(
        3.0,
        description="Largest norm of a customer's statistics, so that no single one decides.",
    )


class PricingSettings(Settings):
    """How prices are read from the receipts, and what a recommended price has to keep to."""

    priced_share: Probability = Field(
        0.5, description="A product counts if its price is known in such a share of the weeks."
    )
    log_limit: PositiveFloat = Field(
        1.0, description="A price further from the usual one, in logarithms, counts as so far."
    )
    min_mean: PositiveFloat = Field(
        5.0, description="A product is evaluated if it sells so many units a week."
    )
    test_steps: PositiveInt = Field(6, description="Held-out weeks at the end.")
    validation_steps: PositiveInt = Field(5, description="Weeks before them.")
    cost_share: Fraction = Field(
        0.7, description="What a product costs the retailer, as a share of its usual shelf price."
    )
    min_margin: Fraction = Field(
        0.05, description="A price is never below the cost and so much of it on top."
    )
    max_change: Fraction = Field(0.1, description="Largest change of a price from week to week.")
    confidence: Probability = Field(
        0.95, description="Of the interval of an elasticity that a price has to be good for."
    )
