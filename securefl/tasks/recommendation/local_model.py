"""What a retailer serves beside the shared model and never releases: models of its own.

They are computed exactly, from its own customers alone, and need no noise because nobody outside
ever sees them. docs/privacy.md, "What is never released".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor, nn

from securefl.config.schema import TrainingSettings
from securefl.tasks.common.histories import CustomerExamples
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.local_baseline import train_to_best
from securefl.tasks.common.ranking_examples import Cases
from securefl.tasks.common.settings import LocalModelSettings
from securefl.tasks.recommendation.item_knn import neighbours
from securefl.tasks.recommendation.models.ease import ItemToItem, multi_hot
from securefl.tasks.recommendation.models.factorization import PurchaseModel
from securefl.tasks.recommendation.personalization import LocalScores
from securefl.tasks.recommendation.task import RankingFacts, RankingMember, RecommendationTask

_RIDGE: Final = 200.0
_PATIENCE: Final = 2


@dataclass(frozen=True, kw_only=True)
class LocalModels(LocalScores):
    """A retailer's own models, and how much each counts.

    Attributes:
        factorization: Trained on its customers, one vector each.
        neighbours: What is bought together at its shop.
        twin: A model of the shared one's kind, trained on its customers alone.
        task: The task of that model.
    """

    factorization: PurchaseModel
    neighbours: ItemToItem
    twin: nn.Module
    task: RecommendationTask

    def parts(self, cases: Cases, index: Tensor) -> Tensor:
        """See `LocalScores.parts`; one a model, [B, I, 3]."""
        items, present = cases.known.padded(index)
        prior = cases.prior.expand(len(index), -1)
        parts = (
            self.factorization.scores(cases.customers[index], items, present, prior),
            self.neighbours.scores(multi_hot(items, present, prior.shape[1])),
            self.task.scores(self.twin, cases, index),
        )
        return torch.stack(parts, dim=2)


def train_local_models(
    task: RecommendationTask,
    facts: RankingFacts,
    member: RankingMember,
    units: CustomerExamples,
    settings: LocalModelSettings,
) -> LocalModels:
    """Everything that a retailer can do alone, on its own customers.

    Args:
        task: The task of a model of the shared one's kind; the seed of its configuration decides.
        facts: What the members agree on.
        member: The retailer's customers, as that model is trained on them.
        units: The same customers as a factorisation is trained on them.
        settings: Sizes and rates.
    """
    alone = task.config.model_copy(
        update={"task": "recommendation", "model": settings.factorization}
    )
    factorization = _trained(
        LocalProblem(alone, RecommendationTask(alone), facts, replace(member, examples=units)),
        settings,
        settings.factorization_rate,
    )
    assert isinstance(factorization, PurchaseModel)
    own = LocalModels(
        weights={},
        validation={},
        factorization=factorization,
        neighbours=neighbours(member.examples.histories, len(facts.products), _RIDGE),
        twin=_trained(LocalProblem(task.config, task, facts, member), settings, settings.twin_rate),
        task=task,
    )
    return own.weighed(member.cases)


def _trained(learner: LocalProblem, settings: LocalModelSettings, rate: float) -> nn.Module:
    training = TrainingSettings(
        learning_rate=rate,
        batch_size=settings.batch_size,
        local_epochs=settings.epochs_a_round,
    )
    model = learner.fresh_model("own")
    with torch.enable_grad():  # it is trained when first served, where no gradient is kept
        train_to_best(learner, model, training, settings.rounds, _PATIENCE)
    return model
