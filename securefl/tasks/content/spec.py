"""Specifications of the tasks `hybrid` and `content`; no torch here."""

from dataclasses import replace
from typing import Final

from securefl.config.load import packaged
from securefl.config.metric_labels import LABELS, MetricLabel
from securefl.config.privacy import PROTECTED
from securefl.config.task_spec import ModelSpec, TaskSpec, Tree
from securefl.tasks.common.disclosures import WHAT_SELLS
from securefl.tasks.common.privacy_units import A_CUSTOMER
from securefl.tasks.common.settings import NewProductSettings
from securefl.tasks.content.settings import (
    RANKED_COLD,
    ContentSettings,
    HybridSettings,
    cold_metric,
)
from securefl.tasks.recommendation.settings import EaseSettings
from securefl.tasks.recommendation.spec import EASE_CHANGES

COLD_LABELS: Final[dict[str, MetricLabel]] = {
    cold_metric(name): replace(
        LABELS[name],
        title=f"{LABELS[name].title} new",
        meaning=f"{LABELS[name].title} among products that nobody bought yet",
        baseline="Kind's popularity",
    )
    for name in RANKED_COLD
}

_FACTS: Final = (
    "securefl.tasks.content.task:FeatureFacts",
    "securefl.tasks.recommendation.ease:EaseFacts",
    "securefl.tasks.recommendation.task:RankingFacts",
)

_SOURCES: Final = ("complete-journey", "tutorial")


def _defaults(task: str) -> dict[str, Tree]:
    return {source: packaged(__package__, f"{task}-{source}") for source in _SOURCES}


def on_every_source(private: Tree) -> dict[tuple[str, str], Tree]:
    """Return the same changes of the defaults under a budget for each source and protection."""
    return {(source, protection): private for source in _SOURCES for protection in PROTECTED}


HYBRID: Final = TaskSpec(
    name="hybrid",
    description="which products a customer buys next, new ones included",
    models=(
        ModelSpec(
            HybridSettings,
            "securefl.tasks.content.hybrid:HybridTask",
            served="securefl.tasks.recommendation.serving:ServedRanking",
            part="securefl.tasks.content.task:FeatureTask",
            unused_in_part=("own",),
            units={"customer": A_CUSTOMER},
        ),
        ModelSpec(
            EaseSettings,
            "securefl.tasks.content.hybrid:HybridEaseTask",
            served="securefl.tasks.recommendation.serving:ServedRanking",
            units={"customer": A_CUSTOMER},
            changes=EASE_CHANGES,
        ),
    ),
    split_settings=NewProductSettings,
    defaults=_defaults("hybrid"),
    changes=on_every_source(packaged(__package__, "hybrid-complete-journey-private")),
    labels=COLD_LABELS,
    facts=_FACTS,
    disclosure=WHAT_SELLS,
)

CONTENT: Final = TaskSpec(
    name="content",
    description="which products a customer buys next, from what products are",
    models=(
        ModelSpec(
            ContentSettings,
            "securefl.tasks.content.hybrid:ContentTask",
            served="securefl.tasks.recommendation.serving:ServedRanking",
            part="securefl.tasks.content.task:FeatureTask",
            unused_in_part=("own",),
            units={"customer": A_CUSTOMER},
        ),
    ),
    split_settings=NewProductSettings,
    defaults=_defaults("content"),
    changes=on_every_source(packaged(__package__, "content-complete-journey-private")),
    labels=COLD_LABELS,
    facts=_FACTS,
    disclosure=WHAT_SELLS,
)
