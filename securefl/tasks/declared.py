"""The tasks whose declarations stand apart from their code, so that torch can wait."""

from collections.abc import Mapping
from typing import Final

from securefl.config.packaged import packaged
from securefl.config.privacy import Unit
from securefl.models.settings import (
    EaseSettings,
    FactorizationSettings,
    ForecasterSettings,
    HierarchicalSettings,
    NcfSettings,
    ProfileSettings,
    QuantileForecasterSettings,
    RatingNcfSettings,
    TutorialForecasterSettings,
)
from securefl.tasks.declaration import ModelChoice, TaskDeclaration, Tree
from securefl.tasks.settings import DemandSettings, RecommendationSettings

A_CUSTOMER: Final = "everything that one customer did at one retailer"
A_BUYER: Final = "everything that one customer bought at one retailer"
A_MEMBER: Final = "one retailer's whole update in every round"
A_LINE: Final = "one line of a purchase: one product in one basket"

_BY_CUSTOMER: Final[Mapping[Unit, str]] = {"customer": A_CUSTOMER, "member": A_MEMBER}
_PURCHASES = "securefl.tasks.recommendation:RecommendationTask"
_PRIVATE_PURCHASES = "securefl.tasks.purchases_private:PrivatePurchaseTask"
_DEMAND = "securefl.tasks.demand:DemandTask"
_PRIVATE_DEMAND = "securefl.tasks.demand_private:PrivateDemandTask"

_QUANTILES = "securefl.tasks.demand_quantiles:QuantileTask"
_PRIVATE_QUANTILES = "securefl.tasks.demand_quantiles:PrivateQuantileTask"

EASE_CHANGES: Final[Mapping[str, Tree]] = {
    "none": packaged("ease"),
    "local": packaged("ease-private"),
    "distributed": packaged("ease-private"),
}
"""A Gram matrix takes one round, whatever the other models of its task take."""

RECOMMENDATION: Final = TaskDeclaration(
    name="recommendation",
    learns="which products a customer buys next",
    models=(
        ModelChoice(FactorizationSettings, _PURCHASES, _PRIVATE_PURCHASES, units=_BY_CUSTOMER),
        ModelChoice(HierarchicalSettings, _PURCHASES),
        ModelChoice(NcfSettings, _PURCHASES, _PRIVATE_PURCHASES, units=_BY_CUSTOMER),
        ModelChoice(
            ProfileSettings, "securefl.tasks.blended:BlendedProfileTask", units=_BY_CUSTOMER
        ),
        ModelChoice(
            EaseSettings,
            "securefl.tasks.ease:EaseTask",
            units={"customer": A_CUSTOMER},
            changes=EASE_CHANGES,
        ),
        ModelChoice(
            RatingNcfSettings,
            "securefl.tasks.rating:RatingTask",
            "securefl.tasks.rating_private:PrivateRatingTask",
            units={**_BY_CUSTOMER, "record": "one rating"},
        ),
    ),
    cuts=RecommendationSettings,
    defaults={
        "complete-journey": packaged("recommendation-complete-journey"),
        "tutorial": packaged("recommendation-tutorial"),
    },
    changes={
        ("complete-journey", "local"): packaged("recommendation-complete-journey-local"),
        ("complete-journey", "distributed"): packaged(
            "recommendation-complete-journey-distributed"
        ),
        ("tutorial", "local"): packaged("recommendation-tutorial-local"),
    },
    facts=(
        "securefl.tasks.recommendation:RankingFacts",
        "securefl.tasks.ease:EaseFacts",
        "securefl.tasks.rating:RatingFacts",
    ),
)

DEMAND: Final = TaskDeclaration(
    name="demand",
    learns="how many units sell in the coming week or day",
    models=tuple(
        ModelChoice(
            settings,
            task,
            private,
            units={"customer": A_BUYER, "record": A_LINE},
            trained_under=("local",),
        )
        for settings, task, private in (
            (ForecasterSettings, _DEMAND, _PRIVATE_DEMAND),
            (QuantileForecasterSettings, _QUANTILES, _PRIVATE_QUANTILES),
            (TutorialForecasterSettings, _DEMAND, _PRIVATE_DEMAND),
        )
    ),
    cuts=DemandSettings,
    defaults={
        "complete-journey": packaged("demand-complete-journey"),
        "tutorial": packaged("demand-tutorial"),
    },
    changes={("complete-journey", "local"): packaged("demand-complete-journey-local")},
    facts=(
        "securefl.tasks.demand:DemandFacts",
        "securefl.tasks.demand_series:Vocabulary",
    ),
    releases="series",
)
