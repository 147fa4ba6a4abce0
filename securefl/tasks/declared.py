"""The tasks whose declarations stand apart from their code, so that torch can wait."""

from collections.abc import Mapping
from typing import Final

from securefl.config.packaged import packaged
from securefl.models.settings import (
    EaseSettings,
    FactorizationSettings,
    ForecasterSettings,
    NcfSettings,
    ProfileSettings,
    RatingNcfSettings,
    TutorialForecasterSettings,
)
from securefl.tasks.declaration import ModelChoice, TaskDeclaration, Tree
from securefl.tasks.settings import DemandSettings, RecommendationSettings

A_CUSTOMER: Final = "everything that one customer did at one retailer"
A_BUYER: Final = "everything that one customer bought at one retailer"
A_LINE: Final = "one line of a purchase: one product in one basket"

_PURCHASES = "securefl.tasks.recommendation:RecommendationTask"
_PRIVATE_PURCHASES = "securefl.tasks.purchases_private:PrivatePurchaseTask"
_DEMAND = "securefl.tasks.demand:DemandTask"
_PRIVATE_DEMAND = "securefl.tasks.demand_private:PrivateDemandTask"

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
        ModelChoice(
            FactorizationSettings, _PURCHASES, _PRIVATE_PURCHASES, units={"customer": A_CUSTOMER}
        ),
        ModelChoice(NcfSettings, _PURCHASES, _PRIVATE_PURCHASES, units={"customer": A_CUSTOMER}),
        ModelChoice(
            ProfileSettings, "securefl.tasks.blended:BlendedTask", units={"customer": A_CUSTOMER}
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
            units={"customer": A_CUSTOMER, "record": "one rating"},
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
            _DEMAND,
            _PRIVATE_DEMAND,
            units={"customer": A_BUYER, "record": A_LINE},
            protections=("local",),
        )
        for settings in (ForecasterSettings, TutorialForecasterSettings)
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
