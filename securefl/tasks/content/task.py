"""Ranking by product features, personalized with each retailer's local models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import ClassVar, Final

import torch
from torch import Tensor, nn

from securefl.config.schema import RunConfig, TrainingSettings
from securefl.data.tables import RetailData, RetailerTables
from securefl.ml.batches import Batch
from securefl.tasks.common.histories import CustomerExamples
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.local_baseline import train_to_best
from securefl.tasks.common.product_features import product_features
from securefl.tasks.common.ranking_examples import Cases, RetailerCases
from securefl.tasks.content.model import FeatureRanker
from securefl.tasks.content.settings import (
    ContentLocalSettings,
    FeatureSettings,
    RankerSettings,
)
from securefl.tasks.recommendation.item_knn import neighbours
from securefl.tasks.recommendation.models.ease import ItemToItem, multi_hot
from securefl.tasks.recommendation.personalization import LocalScores, Parts, PersonalizedTask
from securefl.tasks.recommendation.profile import masked_loss
from securefl.tasks.recommendation.task import RankingFacts, RankingMember, RecommendationTask

_PATIENCE: Final = 2


@dataclass(frozen=True)
class FeatureFacts(RankingFacts):
    """What all members agree on.

    Attributes:
        features: Codes of the products in each feature of the catalogue, int64 [I] each.
    """

    format_name: ClassVar[str] = "FeatureFacts"
    features: tuple[Tensor, ...]


class FeatureTask(RecommendationTask):
    """Ranks a retailer's products from the features of a customer's purchases."""

    settings: FeatureSettings

    def agree(self, data: RetailData) -> FeatureFacts:
        """See `RecommendationTask.agree`; with the features of the agreed catalogue."""
        facts = super().agree(data)
        return FeatureFacts(**vars(facts), features=product_features(data, facts.products))

    def units(self, cut: RetailerCases) -> CustomerExamples:
        """Return training examples that are independent of each other."""
        return cut.separate_examples()

    def new_products(self, facts: RankingFacts) -> Tensor:
        """Return which products count as new, bool [I]: none."""
        return torch.zeros(len(facts.products), dtype=torch.bool)

    def model(self, facts: RankingFacts, customers: int) -> FeatureRanker:
        """Return the model, which has no parameters of single customers."""
        del customers
        assert isinstance(facts, FeatureFacts)
        return FeatureRanker(self.settings, facts.features, self.new_products(facts))

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the weighted loss of hidden purchases given the shown ones, float [B]."""
        _, items, weights, _ = batch
        return masked_loss(
            feature_ranker(model).scores_of_known, items, weights, self.settings.shown
        )

    def scores(self, model: nn.Module, cases: Cases, index: Tensor) -> Tensor:
        """See `RecommendationTask.scores`; no local popularity is added."""
        return self.parts(model, cases, index).sum(dim=2)

    def parts(self, model: nn.Module, cases: Cases, index: Tensor) -> Tensor:
        """Return the common and the customer's part of the scores, float [B, I, 2]."""
        return ranker_parts(feature_ranker(model), cases, index)


@dataclass(frozen=True, kw_only=True)
class LocalFeatureScores(LocalScores):
    """A retailer's local models.

    Attributes:
        together: Item-to-item model of its customers.
        ranker: Model of the shared one's kind, trained on its customers alone.
    """

    together: ItemToItem
    ranker: FeatureRanker

    def parts(self, cases: Cases, index: Tensor) -> Tensor:
        """See `LocalScores.parts`: recent sales and the local models, float32 [B, I, 4]."""
        prior = cases.prior.expand(len(index), -1)
        history = multi_hot(*cases.known.padded(index), prior.shape[1])
        own = torch.stack((prior, self.together.scores(history)), dim=2)
        return torch.cat((own, ranker_parts(self.ranker, cases, index)), dim=2)


@dataclass(frozen=True)
class FeatureMember(RankingMember):
    """A member with local scores.

    Attributes:
        twin: Task of the local model of the shared one's kind.
        facts: What the members agree on.
    """

    twin: FeatureTask
    facts: FeatureFacts

    @cached_property
    def local(self) -> LocalFeatureScores:
        """The local scores, computed on first use."""
        settings = local_settings(self.twin.config)
        ranker = train_local_ranker(self)
        products = len(self.facts.products)
        together = neighbours(self.examples.histories, products, settings.ridge)
        own = LocalFeatureScores(weights={}, validation={}, together=together, ranker=ranker)
        return own.weighed(self.cases)


def train_local_ranker(member: FeatureMember) -> FeatureRanker:
    """Train the local model of a member, up to its best round on validation."""
    task, settings = member.twin, local_settings(member.twin.config)
    learner = LocalProblem(task.config, task, member.facts, member)
    model = learner.fresh_model("own")
    training = TrainingSettings(
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        local_epochs=settings.epochs_a_round,
    )
    with torch.enable_grad():  # trained on first use, during an evaluation without gradients
        train_to_best(learner, model, training, settings.rounds, _PATIENCE)
    return feature_ranker(model).eval()


class PersonalizedFeatureTask(PersonalizedTask, FeatureTask):
    """Blends the shared model with each retailer's local scores."""

    twin: ClassVar[type[FeatureTask]] = FeatureTask

    def member(
        self, tables: RetailerTables, cut: RetailerCases, facts: RankingFacts
    ) -> RankingMember:
        """See `RecommendationTask.member`."""
        return self._personalized(super().member(tables, cut, facts), facts)

    def pool(self, members: Sequence[RankingMember], facts: RankingFacts) -> FeatureMember:
        """See `RecommendationTask.pool`."""
        return self._personalized(super().pool(members, facts), facts)

    def shared_parts(self, model: nn.Module) -> Parts:
        """See `PersonalizedTask`."""
        return partial(self.parts, model)

    def local_scores(self, member: RankingMember) -> LocalFeatureScores:
        """Return recent sales, item-to-item model and local ranker."""
        if not isinstance(member, FeatureMember):
            raise TypeError(f"{member.name} has no local scores")
        return member.local

    def untrained(self, facts: RankingFacts, customers: int) -> LocalFeatureScores:
        """See `PersonalizedTask`."""
        twin = self.twin(with_local_model(self.config))
        ranker = twin.model(facts, customers)
        return LocalFeatureScores(
            weights={}, validation={}, together=ItemToItem.empty(), ranker=ranker
        )

    def _personalized(self, member: RankingMember, facts: RankingFacts) -> FeatureMember:
        assert isinstance(facts, FeatureFacts)
        twin = self.twin(with_local_model(self.config))
        return FeatureMember(**vars(member), twin=twin, facts=facts)


def with_local_model(config: RunConfig) -> RunConfig:
    """Return the configuration with the local model's sizes instead of the shared one's."""
    shared = config.model
    assert isinstance(shared, FeatureSettings)
    own = {name: getattr(shared.own, name) for name in RankerSettings.model_fields}
    return config.model_copy(update={"model": shared.model_copy(update=own)})


def local_settings(config: RunConfig) -> ContentLocalSettings:
    """Return the settings of the local model."""
    assert isinstance(config.model, FeatureSettings)
    assert isinstance(config.model.own, ContentLocalSettings)
    return config.model.own


def feature_ranker(model: nn.Module) -> FeatureRanker:
    """Return the model as a feature model.

    Raises:
        TypeError: If it is of another class.
    """
    if not isinstance(model, FeatureRanker):
        raise TypeError(f"{type(model).__name__} does not rank by features")
    return model


def ranker_parts(ranker: FeatureRanker, cases: Cases, index: Tensor) -> Tensor:
    """Return the common and the customer's part of the scores, float32 [B, I, 2]."""
    taste = ranker.taste(*cases.known.padded(index))
    return torch.stack((ranker.common(1).expand_as(taste), taste), dim=2)
