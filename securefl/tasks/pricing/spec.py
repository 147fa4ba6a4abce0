"""Specification of the task `pricing`; no torch here."""

from __future__ import annotations

from typing import Final

from securefl.config.load import packaged
from securefl.config.metric_labels import MetricLabel
from securefl.config.privacy import PROTECTED
from securefl.config.task_spec import Disclosure, ModelSpec, TaskSpec
from securefl.tasks.pricing.settings import ElasticitySettings, PricingSettings

A_SHOPPER: Final = "everything that one customer bought at one retailer, and when"


_NAIVE: Final = "Price ignored"


def _label(title: str, meaning: str, *, better: bool, percent: bool, headline: bool) -> MetricLabel:
    return MetricLabel(title, meaning, better, percent, _NAIVE, headline)


_LABELS: Final = {
    "deviance": _label(
        "Deviance",
        "how far units sold are from those predicted",
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

_DISCLOSURE: Final = Disclosure(
    model=(
        "How strongly customers of all members together react to prices, by category. Prices and"
        " receipts of a member are in none of it."
    ),
    delicate=True,
    competition=(
        "Prices are what competitors may least coordinate. Members share price elasticities and no"
        " price, and each computes its own prices on its own machine. But competitors that derive"
        " prices from one common estimate, by one program, can end up with like prices without"
        " talking to each other: counsel should assess the common use, and each member should"
        " decide on its prices by itself."
    ),
)

PRICING: Final = TaskSpec(
    name="pricing",
    description="how much less is bought of what costs more",
    models=(
        ModelSpec(
            ElasticitySettings,
            "securefl.tasks.pricing.task:PricingTask",
            served="securefl.tasks.pricing.serving:ServedPrices",
            units={"customer": A_SHOPPER},
        ),
    ),
    split_settings=PricingSettings,
    defaults={"complete-journey": packaged(__package__, "complete-journey")},
    changes={
        ("complete-journey", protection): packaged(__package__, "private")
        for protection in PROTECTED
    },
    labels=_LABELS,
    facts=(
        "securefl.tasks.pricing.facts:PricingFacts",
        "securefl.tasks.pricing.facts:PricedFacts",
        "securefl.tasks.demand.series:Vocabulary",
    ),
    outputs={"prices": "recommended prices", "price-curves": "revenue and margin by price"},
    disclosure=_DISCLOSURE,
)
