"""The tasks that rank products by what they are, declared apart from their code (no torch here)."""

from dataclasses import replace
from typing import Final

from securefl.config.packaged import packaged
from securefl.config.privacy import PROTECTED
from securefl.evaluation.labels import LABELS, MetricLabel
from securefl.models.settings import ContentSettings, EaseSettings, HybridSettings, TransferSettings
from securefl.tasks.declaration import ModelChoice, TaskDeclaration, Tree
from securefl.tasks.declared import A_CUSTOMER, EASE_CHANGES
from securefl.tasks.settings import NewProductSettings, TransferCuts

RANKED_COLD: Final = ("ndcg@10_expected", "hr@10", "ndcg@10")
"""The ranking metrics that are also reported over the cases of new products."""


def cold_metric(name: str) -> str:
    """What a ranking metric is called over the cases of new products."""
    return f"{name}_cold"


COLD_LABELS: Final[dict[str, MetricLabel]] = {
    cold_metric(name): replace(
        LABELS[name],
        title=f"{LABELS[name].title} new",
        meaning=f"{LABELS[name].title} among products that nobody bought yet",
        naive="Kind's popularity",
    )
    for name in RANKED_COLD
}

_FACTS: Final = (
    "securefl.tasks.features:FeatureFacts",
    "securefl.tasks.ease:EaseFacts",
    "securefl.tasks.recommendation:RankingFacts",
)

_SOURCES: Final = ("complete-journey", "tutorial")


def _defaults(task: str) -> dict[str, Tree]:
    return {source: packaged(f"{task}-{source}") for source in _SOURCES}


def _under_a_budget(task: str) -> dict[tuple[str, str], Tree]:
    private = packaged(f"{task}-complete-journey-private")
    return {(source, protection): private for source in _SOURCES for protection in PROTECTED}


HYBRID: Final = TaskDeclaration(
    name="hybrid",
    learns="which products a customer buys next, new ones included",
    models=(
        ModelChoice(
            HybridSettings, "securefl.tasks.hybrid:HybridTask", units={"customer": A_CUSTOMER}
        ),
        ModelChoice(
            EaseSettings,
            "securefl.tasks.hybrid:HybridEaseTask",
            units={"customer": A_CUSTOMER},
            changes=EASE_CHANGES,
        ),
    ),
    cuts=NewProductSettings,
    defaults=_defaults("hybrid"),
    changes=_under_a_budget("hybrid"),
    labels=COLD_LABELS,
    facts=_FACTS,
)

CONTENT: Final = TaskDeclaration(
    name="content",
    learns="which products a customer buys next, from what products are",
    models=(
        ModelChoice(
            ContentSettings, "securefl.tasks.hybrid:ContentTask", units={"customer": A_CUSTOMER}
        ),
    ),
    cuts=NewProductSettings,
    defaults=_defaults("content"),
    changes=_under_a_budget("content"),
    labels=COLD_LABELS,
    facts=_FACTS,
)

TRANSFER: Final = TaskDeclaration(
    name="transfer",
    learns="which products of a new department a customer buys next",
    models=(
        ModelChoice(
            TransferSettings,
            "securefl.tasks.transfer_served:ServedTransferTask",
            units={"customer": A_CUSTOMER},
        ),
    ),
    cuts=TransferCuts,
    defaults=_defaults("transfer"),
    changes=_under_a_budget("transfer"),
    facts=("securefl.tasks.transfer:TransferFacts",),
)
