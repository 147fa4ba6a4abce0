"""What a retailer serves beside the shared model and never releases: models of its own.

They are computed exactly, from its own customers alone, and need no noise because nobody outside
ever sees them. docs/privacy.md, "What is never released".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import torch
from torch import Tensor

from securefl.config.schema import RunConfig, TrainingSettings
from securefl.evaluation.blend import chosen_weights
from securefl.models.ease import ItemToItem, multi_hot
from securefl.models.factorization import PurchaseModel
from securefl.models.profile import ProfileRanker
from securefl.models.settings import OwnPartSettings
from securefl.tasks.histories import CustomerExamples
from securefl.tasks.neighbours import neighbours
from securefl.tasks.profile import ProfileTask
from securefl.tasks.purchase_cases import Cases
from securefl.tasks.recommendation import RankingFacts, RankingMember, RecommendationTask
from securefl.training.alone import train_to_best
from securefl.training.learner import Learner

_RIDGE: Final = 200.0
_PATIENCE: Final = 2
_CHUNK: Final = 256


@dataclass(frozen=True)
class OwnPart:
    """A retailer's own models, and how much each counts.

    Attributes:
        factorization: Trained on its customers, one vector each.
        neighbours: What is bought together at its shop.
        profile: The shared model's kind, trained on its customers alone.
        weights: Retailer to the weights of the three, float64 [3]; chosen on validation.
        validation: Retailer to the scores of all products for its validation cases, float32 [n, I]:
            every round of a run asks for them again.
    """

    factorization: PurchaseModel
    neighbours: ItemToItem
    profile: ProfileRanker
    weights: Mapping[str, Tensor]
    validation: Mapping[str, Tensor]

    def scores(self, retailer: str, cases: Cases, index: Tensor) -> Tensor:
        """The retailer's own scores of all products, float32 [B, I]."""
        return _parts(self, cases, index) @ self.weights[retailer].float()


def train_own_part(
    config: RunConfig,
    facts: RankingFacts,
    member: RankingMember,
    units: CustomerExamples,
    settings: OwnPartSettings,
) -> OwnPart:
    """Everything that a retailer can do alone, on its own customers.

    Args:
        config: The run's configuration; its seed decides.
        facts: What the members agree on.
        member: The retailer's customers, as the shared model is trained on them.
        units: The same customers as a factorisation is trained on them.
        settings: Sizes and rates.
    """
    alone = config.model_copy(update={"model": settings.factorization})
    factorization = _trained(
        Learner(alone, RecommendationTask(alone), facts, replace(member, examples=units)),
        settings,
        settings.factorization_rate,
    )
    profile = _trained(
        Learner(config, ProfileTask(config), facts, member), settings, settings.profile_rate
    )
    assert isinstance(factorization, PurchaseModel)
    assert isinstance(profile, ProfileRanker)
    products = len(facts.products)
    together = neighbours(member.examples.histories, products, _RIDGE)
    own = OwnPart(factorization, together, profile, {}, {})
    validation = {name: splits["validation"] for name, splits in member.cases.items()}
    with torch.no_grad():
        own = replace(own, weights={n: _weights(own, cases) for n, cases in validation.items()})
        scores = {name: _all_scores(own, name, cases) for name, cases in validation.items()}
    return replace(own, validation=scores)


def _weights(own: OwnPart, cases: Cases) -> Tensor:
    return chosen_weights(partial(_parts, own, cases), cases.ranking)


def _all_scores(own: OwnPart, retailer: str, cases: Cases) -> Tensor:
    """The own scores of all products for all cases, float32 [n, I]."""
    every = torch.split(torch.arange(len(cases.customers)), _CHUNK)
    return torch.cat([own.scores(retailer, cases, index) for index in every])


def _trained(learner: Learner, settings: OwnPartSettings, rate: float) -> torch.nn.Module:
    training = TrainingSettings(
        learning_rate=rate,
        batch_size=settings.batch_size,
        local_epochs=settings.epochs_a_round,
    )
    model = learner.fresh_model("own")
    with torch.enable_grad():  # it is trained when first served, where no gradient is kept
        train_to_best(learner, model, training, settings.rounds, _PATIENCE)
    return model


def _parts(own: OwnPart, cases: Cases, index: Tensor) -> Tensor:
    """Scores of all products by each own model, float32 [B, I, 3]."""
    items, present = cases.known.padded(index)
    prior = cases.prior.expand(len(index), -1)
    products = prior.shape[1]
    parts = (
        own.factorization.scores(cases.customers[index], items, present, prior),
        own.neighbours.scores(multi_hot(items, present, products)),
        own.profile(items, present),
    )
    return torch.stack(parts, dim=2)
