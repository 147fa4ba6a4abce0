"""The target's products as a retailer serves them: its own scores beside the shared model."""

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
    """What a retailer knows of the target by itself.

    Attributes:
        ranker: The shared model's kind, trained on its customers alone.
    """

    ranker: FeatureRanker

    def parts(self, cases: Cases, index: Tensor) -> Tensor:
        """See `LocalScores.parts`: own popularity of the target and own ranker, [B, I, 2]."""
        found = _whole(self.ranker, cases, index)
        return torch.stack((cases.prior.expand_as(found), found), dim=2)


@dataclass(frozen=True)
class PersonalizedTransferMember(TransferMember):
    """A member with scores of its own.

    Attributes:
        config: The run's configuration.
        facts: What the members agree on.
    """

    config: RunConfig
    facts: RankingFacts

    @cached_property
    def local(self) -> LocalTransferScores:
        """The own scores, computed when they are first served."""
        config = with_local_model(self.config)
        learner = LocalProblem(config, TransferTask(config), self.facts, self)
        ranker = feature_ranker(train_local_model(learner))
        own = LocalTransferScores(weights={}, validation={}, ranker=ranker)
        return own.weighed(self.cases)


class PersonalizedTransferTask(PersonalizedTask, TransferTask):
    """Serves the shared ranker in a blend with each retailer's own scores."""

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
        """What the shared ranker says, [B, I, 1]."""
        return partial(_one_part, feature_ranker(model))

    def local_scores(self, member: RankingMember) -> LocalTransferScores:
        """Own popularity and own ranker."""
        if not isinstance(member, PersonalizedTransferMember):
            raise TypeError(f"{member.name} has no scores of its own")
        return member.local

    def evaluate_shared(
        self, model: nn.Module, member: RankingMember, split: Split
    ) -> dict[str, MetricSums]:
        """Ranks by the shared ranker, and by nothing else."""
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
