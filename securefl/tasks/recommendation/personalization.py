"""Purchases as a retailer serves them: scores of its own, never released, beside a shared model.

The own scores and all weights stay at the retailer, which chooses them on its own validation
purchases. What is never released needs no noise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Self

import torch
from torch import Tensor, nn

from securefl.ml.metrics.ranking import Scores, ranking_tally
from securefl.ml.metrics.score_blending import chosen_weights
from securefl.ml.metrics.spec import Split
from securefl.ml.metrics.sums import MetricSums
from securefl.tasks.common.histories import CustomerExamples
from securefl.tasks.common.ranking_examples import Cases, RetailerCases
from securefl.tasks.recommendation.task import RankingMember, RecommendationTask

Splits = Mapping[Split, Cases]
Parts = Callable[[Cases, Tensor], Tensor]
"""Cases and positions of some of them, int64 [B], to parts of all products' scores, [B, I, P]."""

_CHUNK: Final = 256


@dataclass(frozen=True, kw_only=True)
class LocalScores(ABC):
    """What a retailer can say alone, as a weighted sum of parts.

    Attributes:
        weights: Retailer to the weights of the parts, float64 [P]; chosen on validation.
        validation: Retailer to the scores of all products for its validation cases, float32 [n, I]:
            every round of a run asks for them again.
    """

    weights: Mapping[str, Tensor]
    validation: Mapping[str, Tensor]

    @abstractmethod
    def parts(self, cases: Cases, index: Tensor) -> Tensor:
        """Parts of the scores of all products, float32 [B, I, P], none of them released."""

    def scores(self, retailer: str, cases: Cases, index: Tensor) -> Tensor:
        """The retailer's own scores of all products, float32 [B, I]."""
        return self.parts(cases, index) @ self.weights[retailer].float()

    @torch.no_grad()
    def weighed(self, cases: Mapping[str, Splits]) -> Self:
        """The same parts with the weights that these retailers' validation purchases ask for."""
        validation = {name: splits["validation"] for name, splits in cases.items()}
        weights = {
            name: chosen_weights(partial(self.parts, part), part.ranking)
            for name, part in validation.items()
        }
        own = replace(self, weights=weights)
        scores = {name: own._all_scores(name, part) for name, part in validation.items()}
        return replace(own, validation=scores)

    def _all_scores(self, retailer: str, cases: Cases) -> Tensor:
        every = torch.split(torch.arange(len(cases.customers)), _CHUNK)
        return torch.cat([self.scores(retailer, cases, index) for index in every])


class PersonalizedTask(RecommendationTask):
    """Serves a shared model in a blend with each retailer's own scores."""

    def units(self, cut: RetailerCases) -> CustomerExamples:
        """The customers to train on, with nothing in a unit that comes from another one."""
        return cut.separate_examples()

    @abstractmethod
    def shared_parts(self, model: nn.Module) -> Parts:
        """The parts of the scores that the shared model gives."""

    @abstractmethod
    def local_scores(self, member: RankingMember) -> LocalScores:
        """What the member serves beside it; computed when it is first asked for."""

    def evaluate(
        self, model: nn.Module, member: RankingMember, split: Split
    ) -> dict[str, MetricSums]:
        """Ranks by the blend of own and shared scores, its weights chosen on validation."""
        shared, own = self.shared_parts(model), self.local_scores(member)
        return {
            name: personalized_metrics(shared, own, name, splits, split)
            for name, splits in member.cases.items()
        }

    def evaluate_shared(
        self, model: nn.Module, member: RankingMember, split: Split
    ) -> dict[str, MetricSums]:
        """Ranks by the shared parts alone, their weights chosen on validation."""
        shared = self.shared_parts(model)
        return {
            name: blended_metrics(shared, shared, splits, split)
            for name, splits in member.cases.items()
        }

    def evaluate_local(self, member: RankingMember, split: Split) -> dict[str, MetricSums] | None:
        """Ranks by the own scores, and by nothing else."""
        own = self.local_scores(member)
        return {
            name: local_metrics(own, name, splits, split) for name, splits in member.cases.items()
        }


def personalized_metrics(
    shared: Parts, own: LocalScores, retailer: str, splits: Splits, split: Split
) -> MetricSums:
    """How one retailer's cases are ranked by the blend of its own and the shared scores."""
    known: Scores = partial(_rows, own.validation[retailer])
    found = known if split == "validation" else partial(own.scores, retailer, splits[split])
    return blended_metrics(_beside(known, shared), _beside(found, shared), splits, split)


def local_metrics(own: LocalScores, retailer: str, splits: Splits, split: Split) -> MetricSums:
    """How one retailer's cases are ranked by its own scores."""
    cases = splits[split]
    return ranking_tally(partial(own.scores, retailer, cases), cases.ranking)


def blended_metrics(chooses: Parts, ranks: Parts, splits: Splits, split: Split) -> MetricSums:
    """How one retailer's cases are ranked by parts with weights that its validation cases chose.

    Args:
        chooses: The parts as they are for validation cases.
        ranks: The same parts for the cases of `split`.
        splits: The retailer's cases.
        split: Those that are ranked.
    """
    validation, cases = splits["validation"], splits[split]
    weights = chosen_weights(partial(chooses, validation), validation.ranking)
    return ranking_tally(partial(_weighted, ranks, cases, weights), cases.ranking)


def _beside(own: Scores, shared: Parts) -> Parts:
    def parts(cases: Cases, index: Tensor) -> Tensor:
        return torch.cat([own(index).unsqueeze(2), shared(cases, index)], dim=2)

    return parts


def _rows(scores: Tensor, index: Tensor) -> Tensor:
    return scores[index]


def _weighted(parts: Parts, cases: Cases, weights: Tensor, index: Tensor) -> Tensor:
    return parts(cases, index) @ weights.float()
