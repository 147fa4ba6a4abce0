"""Local models of a retailer, which it blends with the shared model and never releases.

They are trained exactly, from its own customers alone, and need no noise because they never leave
the retailer. docs/explanation/privacy.md, "What is never released".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Protocol, runtime_checkable

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


@runtime_checkable
class HasLocalModel(Protocol):
    """Settings of a model that a retailer blends with local models."""

    own: LocalModelSettings


@dataclass(frozen=True, kw_only=True)
class LocalModels(LocalScores):
    """A retailer's local models and their weights.

    Attributes:
        factorization: Trained on its customers, one vector each.
        neighbours: Item-to-item model of its customers.
        twin: Model of the shared one's kind, trained on its customers alone.
        task: The task of that model.
    """

    factorization: PurchaseModel
    neighbours: ItemToItem
    twin: nn.Module
    task: RecommendationTask

    def parts(self, cases: Cases, index: Tensor) -> Tensor:
        """See `LocalScores.parts`; one per model, [B, I, 3]."""
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
    """Train a retailer's local models on its own customers.

    Args:
        task: The task of the twin, whose configuration has the seed.
        facts: What the members agree on.
        member: The retailer's customers, as training examples of the twin.
        units: The same customers as training examples of the factorisation.
        settings: Sizes and rates.
    """
    alone = _of_factorization(task, settings)
    factorization = _trained(
        LocalProblem(alone.config, alone, facts, replace(member, examples=units)),
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


def untrained_models(task: RecommendationTask, facts: RankingFacts, customers: int) -> LocalModels:
    """Return the local models before training, to be filled with what was trained.

    Args:
        task: The task of the twin.
        facts: What the members agree on.
        customers: Rows of the factorisation's table of customers.
    """
    factorization = _of_factorization(task, local_settings(task)).model(facts, customers)
    assert isinstance(factorization, PurchaseModel)
    return LocalModels(
        weights={},
        validation={},
        factorization=factorization,
        neighbours=ItemToItem.empty(),
        twin=task.model(facts, customers),
        task=task,
    )


def local_settings(task: RecommendationTask) -> LocalModelSettings:
    """Return the settings of the local models beside a twin of this task."""
    assert isinstance(task.settings, HasLocalModel)
    return task.settings.own


def _of_factorization(task: RecommendationTask, settings: LocalModelSettings) -> RecommendationTask:
    """Return the task of the local factorisation."""
    return RecommendationTask(
        task.config.model_copy(update={"task": "recommendation", "model": settings.factorization})
    )


def _trained(learner: LocalProblem, settings: LocalModelSettings, rate: float) -> nn.Module:
    training = TrainingSettings(
        learning_rate=rate,
        batch_size=settings.batch_size,
        local_epochs=settings.epochs_a_round,
    )
    model = learner.fresh_model("own")
    with torch.enable_grad():  # trained on first use, during an evaluation without gradients
        train_to_best(learner, model, training, settings.rounds, _PATIENCE)
    return model
