"""Specification of the task `recommendation`; no torch here."""

from collections.abc import Mapping
from typing import Final

from securefl.config.load import packaged
from securefl.config.privacy import Unit
from securefl.config.score_bounds import ScoreBound, ScoreTable
from securefl.config.task_spec import ModelSpec, TaskSpec, Tree
from securefl.tasks.common.disclosures import WHAT_SELLS
from securefl.tasks.common.privacy_units import A_CUSTOMER, A_MEMBER
from securefl.tasks.common.settings import (
    FactorizationSettings,
    HierarchicalSettings,
    NcfSettings,
    ProfileSettings,
    RecommendationSettings,
)
from securefl.tasks.recommendation.settings import BlendSettings, EaseSettings, RatingNcfSettings

RANKING_SCORES: Final[Mapping[Unit, ScoreTable]] = {
    "customer": ScoreTable("released", {"hr@10": ScoreBound(1.0), "ndcg@10": ScoreBound(1.0)})
}
"""One held-out purchase a customer: a hit, and a gain of 1 at most."""
_RATING_SCORES: Final[Mapping[Unit, ScoreTable]] = {
    "customer": ScoreTable("federated", {"accuracy": ScoreBound(4.0, 4.0)}),
    "record": ScoreTable("federated", {"accuracy": ScoreBound(1.0)}),
}
"""A customer's held-out ratings count as four at most."""
_BY_CUSTOMER: Final[Mapping[Unit, str]] = {"customer": A_CUSTOMER, "member": A_MEMBER}
_PURCHASES = "securefl.tasks.recommendation.task:RecommendationTask"
_SERVED = "securefl.tasks.recommendation.serving:ServedRanking"
_PRIVATE_PURCHASES = "securefl.tasks.recommendation.private:PrivatePurchaseTask"


EASE_CHANGES: Final[Mapping[str, Tree]] = {
    "none": packaged(__package__, "ease"),
    "local": packaged(__package__, "ease-private"),
    "distributed": packaged(__package__, "ease-private"),
}
"""A Gram matrix takes one round, unlike the other models of its task."""
PROFILE_CHANGES: Final[Mapping[str, Tree]] = {
    "local": packaged(__package__, "profile-local"),
    "distributed": packaged(__package__, "profile-distributed"),
}
"""A popularity list is a sum, which takes plain steps."""

RECOMMENDATION: Final = TaskSpec(
    name="recommendation",
    description="which products a customer buys next",
    models=(
        ModelSpec(
            BlendSettings,
            "securefl.tasks.recommendation.blend:BlendTask",
            served=_SERVED,
            changes={"none": packaged(__package__, "blend")},
        ),
        ModelSpec(
            FactorizationSettings,
            _PURCHASES,
            _PRIVATE_PURCHASES,
            served=_SERVED,
            units=_BY_CUSTOMER,
            scores=RANKING_SCORES,
            part=_PURCHASES,
        ),
        ModelSpec(HierarchicalSettings, _PURCHASES, served=_SERVED, part=_PURCHASES),
        ModelSpec(
            NcfSettings,
            _PURCHASES,
            _PRIVATE_PURCHASES,
            served=_SERVED,
            units=_BY_CUSTOMER,
            scores=RANKING_SCORES,
            part=_PURCHASES,
        ),
        ModelSpec(
            ProfileSettings,
            "securefl.tasks.recommendation.blending:BlendedProfileTask",
            "securefl.tasks.recommendation.private_profile:PrivateProfileTask",
            served=_SERVED,
            units=_BY_CUSTOMER,
            scores=RANKING_SCORES,
            changes=PROFILE_CHANGES,
            part="securefl.tasks.recommendation.profile:ProfileTask",
            unused_in_part=("learns", "dim", "own"),
            under_budget=("learns", "dim"),
        ),
        ModelSpec(
            EaseSettings,
            "securefl.tasks.recommendation.ease:EaseTask",
            served=_SERVED,
            units={"customer": A_CUSTOMER},
            changes=EASE_CHANGES,
            part="securefl.tasks.recommendation.ease:EaseTask",
            unused_in_part=("own_ridge",),
        ),
        ModelSpec(
            RatingNcfSettings,
            "securefl.tasks.recommendation.rating_task:RatingTask",
            "securefl.tasks.recommendation.rating_task:PrivateRatingTask",
            served="securefl.tasks.recommendation.rating_serving:ServedRatings",
            units={**_BY_CUSTOMER, "record": "one rating"},
            scores=_RATING_SCORES,
        ),
    ),
    split_settings=RecommendationSettings,
    defaults={
        "complete-journey": packaged(__package__, "complete-journey"),
        "tutorial": packaged(__package__, "tutorial"),
    },
    changes={
        ("complete-journey", "local"): packaged(__package__, "complete-journey-local"),
        ("complete-journey", "distributed"): packaged(__package__, "complete-journey-distributed"),
        ("tutorial", "local"): packaged(__package__, "tutorial-local"),
    },
    facts=(
        "securefl.tasks.recommendation.task:RankingFacts",
        "securefl.tasks.recommendation.ease:EaseFacts",
        "securefl.tasks.recommendation.rating_task:RatingFacts",
        "securefl.tasks.recommendation.blend:BlendFacts",
        "securefl.tasks.content.task:FeatureFacts",
    ),
    disclosure=WHAT_SELLS,
)
