"""The task `pricing`, as it declares itself: how prices are read, and what limits a new one."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from securefl.config.base import NamedSettings, Settings
from securefl.config.load import packaged
from securefl.config.metric_labels import MetricLabel
from securefl.config.privacy import PROTECTED
from securefl.config.task_spec import ModelSpec, TaskSpec
from securefl.tasks.common.settings import Fraction, Probability

A_SHOPPER: Final = "everything that one customer bought at one retailer, and when"


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


_NAIVE: Final = "Price ignored"


def _label(title: str, meaning: str, *, better: bool, percent: bool, headline: bool) -> MetricLabel:
    return MetricLabel(title, meaning, better, percent, _NAIVE, headline)


_LABELS: Final = {
    "deviance": _label(
        "Deviance",
        "how far units sold are from what prices foretell",
        better=False,
        percent=False,
        headline=True,
    ),
    "units_wape": _label(
        "WAPE given prices",
        "units off, in percent of all units sold",
        better=False,
        percent=True,
        headline=True,
    ),
    "units_mape": _label(
        "MAPE given prices",
        "how far off the units of a product and week are",
        better=False,
        percent=True,
        headline=False,
    ),
    "standard_error": _label(
        "Standard error",
        "of a category's elasticity, on average",
        better=False,
        percent=False,
        headline=True,
    ),
    "negative": _label(
        "Negative",
        "share of categories that sell less when they cost more",
        better=True,
        percent=True,
        headline=False,
    ),
    "significant": _label(
        "Clearly negative",
        "categories with a whole interval below 0",
        better=True,
        percent=True,
        headline=True,
    ),
}

PRICING: Final = TaskSpec(
    name="pricing",
    learns="how much less is bought of what costs more",
    models=(
        ModelSpec(
            ElasticitySettings,
            "securefl.tasks.pricing.task:PricingTask",
            units={"customer": A_SHOPPER},
        ),
    ),
    cuts=PricingSettings,
    defaults={"complete-journey": packaged(__package__, "complete-journey")},
    changes={
        ("complete-journey", protection): packaged(__package__, "private")
        for protection in PROTECTED
    },
    labels=_LABELS,
    facts=("securefl.tasks.pricing.task:PricingFacts", "securefl.tasks.demand.series:Vocabulary"),
    outputs={"prices": "recommended prices", "price-curves": "revenue and margin by price"},
)
