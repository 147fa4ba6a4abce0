"""Personalized ranking of the target departments: local scores blended with the shared model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from securefl.config.schema import RunConfig
from securefl.data.tables import RetailerTables
from securefl.ml.metrics.spec import Split
from securefl.ml.metrics.sums import MetricSums
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.local_baseline import train_local_model
from securefl.tasks.common.ranking_examples import Cases, RetailerCases
from securefl.tasks.content.model import FeatureRanker
from securefl.tasks.content.task import feature_ranker, ranker_parts, with_local_model
from securefl.tasks.recommendation.personalization import LocalScores, Parts, PersonalizedTask
from securefl.tasks.recommendation.task import RankingFacts, RankingMember, RecommendationTask
from securefl.tasks.transfer.task import TransferMember, TransferTask


@dataclass(frozen=True, kw_only=True)
class LocalTransferScores(LocalScores):
    """Local scores of the target departments.

    Attributes:
        ranker: Model of the shared one's kind, trained on its customers alone.
    """

    ranker: FeatureRanker

    def parts(self, cases: Cases, index: Tensor) -> Tensor:
        """See `LocalScores.parts`: local popularity and local ranker, [B, I, 2]."""
        found = _whole(self.ranker, cases, index)
        return torch.stack((cases.prior.expand_as(found), found), dim=2)


@dataclass(frozen=True)
class PersonalizedTransferMember(TransferMember):
    """A member with local scores.

    Attributes:
        config: The run's configuration.
        facts: What the members agree on.
    """

    config: RunConfig
    facts: RankingFacts

    @cached_property
    def local(self) -> LocalTransferScores:
        """The local scores, computed on first use."""
        config = with_local_model(self.config)
        learner = LocalProblem(config, TransferTask(config), self.facts, self)
        ranker = feature_ranker(train_local_model(learner))
        own = LocalTransferScores(weights={}, validation={}, ranker=ranker)
        return own.weighed(self.cases)


class PersonalizedTransferTask(PersonalizedTask, TransferTask):
    """Blends the shared model with each retailer's local scores."""

    def member(
        self, tables: RetailerTables, cut: RetailerCases, facts: RankingFacts
    ) -> PersonalizedTransferMember:
        """See `TransferTask.member`."""
        return self._personalized(TransferTask.member(self, tables, cut, facts), facts)

    def pool(
        self, members: Sequence[RankingMember], facts: RankingFacts
    ) -> PersonalizedTransferMember:
        """See `TransferTask.pool`."""
        return self._personalized(TransferTask.pool(self, members, facts), facts)

    def shared_parts(self, model: nn.Module) -> Parts:
        """Return the scores of the shared model, [B, I, 1]."""
        return partial(_one_part, feature_ranker(model))

    def local_scores(self, member: RankingMember) -> LocalTransferScores:
        """Return local popularity and local ranker."""
        if not isinstance(member, PersonalizedTransferMember):
            raise TypeError(f"{member.name} has no local scores")
        return member.local

    def untrained(self, facts: RankingFacts, customers: int) -> LocalTransferScores:
        """See `PersonalizedTask`."""
        ranker = TransferTask(with_local_model(self.config)).model(facts, customers)
        return LocalTransferScores(weights={}, validation={}, ranker=ranker)

    def evaluate_shared(
        self, model: nn.Module, member: RankingMember, split: Split
    ) -> dict[str, MetricSums]:
        """Rank by the shared model alone."""
        return RecommendationTask.evaluate(self, model, member, split)

    def _personalized(
        self, member: TransferMember, facts: RankingFacts
    ) -> PersonalizedTransferMember:
        return PersonalizedTransferMember(**vars(member), config=self.config, facts=facts)


def _whole(ranker: FeatureRanker, cases: Cases, index: Tensor) -> Tensor:
    found: Tensor = ranker_parts(ranker, cases, index).sum(dim=2)
    return found


def _one_part(ranker: FeatureRanker, cases: Cases, index: Tensor) -> Tensor:
    return _whole(ranker, cases, index).unsqueeze(2)
