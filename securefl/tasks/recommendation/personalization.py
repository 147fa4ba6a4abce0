"""Personalized ranking: a shared model blended with local scores that are never released.

The local scores and all weights stay at the retailer, which selects the weights on its own
validation purchases. What is never released needs no noise.
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
from securefl.tasks.common.serving import load_rows
from securefl.tasks.recommendation.models.ease import ItemToItem
from securefl.tasks.recommendation.task import (
    Blend,
    CaseScores,
    RankingFacts,
    RankingMember,
    RecommendationTask,
)

Splits = Mapping[Split, Cases]
Parts = Callable[[Cases, Tensor], Tensor]
"""From cases and positions of some of them, int64 [B], to score components, [B, I, P]."""

_CHUNK: Final = 256


@dataclass(frozen=True, kw_only=True)
class LocalScores(ABC):
    """Scores from a retailer's own data, as a weighted sum of components.

    Attributes:
        weights: Retailer to component weights, float64 [P], selected on validation.
        validation: Retailer to the scores of all products for its validation cases, float32 [n, I],
            cached because every round of a run needs them.
    """

    weights: Mapping[str, Tensor]
    validation: Mapping[str, Tensor]

    @abstractmethod
    def parts(self, cases: Cases, index: Tensor) -> Tensor:
        """Return components of all products' scores, float32 [B, I, P]; none is released."""

    def scores(self, retailer: str, cases: Cases, index: Tensor) -> Tensor:
        """Return the retailer's local scores of all products, float32 [B, I]."""
        return self.parts(cases, index) @ self.weights[retailer].float()

    @torch.no_grad()
    def weighed(self, cases: Mapping[str, Splits]) -> Self:
        """Return the components with weights selected on these retailers' validation purchases."""
        validation = {name: splits["validation"] for name, splits in cases.items()}
        weights = {
            name: chosen_weights(partial(self.parts, part), part.ranking)
            for name, part in validation.items()
        }
        own = replace(self, weights=weights)
        scores = {name: own._all_scores(name, part) for name, part in validation.items()}
        return replace(own, validation=scores)

    def tensors(self) -> dict[str, Tensor]:
        """Return what the scores are computed from, by name; see `filled`."""
        found: dict[str, Tensor] = {}
        for name, part in vars(self).items():
            if isinstance(part, nn.Module):
                found |= {f"{name}/{key}": value for key, value in part.state_dict().items()}
            elif isinstance(part, ItemToItem):
                found[f"{name}/diagonal"] = part.diagonal
                found |= {f"{name}/explains/{i}": one for i, one in enumerate(part.explains)}
        return found

    def filled(self, tensors: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Self:
        """Return the untrained local scores with what `tensors` had returned of trained ones.

        Raises:
            ValueError: If a tensor is missing or of another shape; also KeyError.
        """
        items: dict[str, ItemToItem] = {}
        for name, part in vars(self).items():
            own = {
                key.removeprefix(f"{name}/"): value
                for key, value in tensors.items()
                if key.startswith(f"{name}/")
            }
            if isinstance(part, nn.Module):
                load_rows(part.eval(), own)
            elif isinstance(part, ItemToItem):
                diagonal = own.pop("diagonal")
                explains = tuple(own[f"explains/{place}"] for place in range(len(own)))
                items[name] = ItemToItem(explains, diagonal)
        return replace(self, weights=weights, validation={}, **items)

    def _all_scores(self, retailer: str, cases: Cases) -> Tensor:
        every = torch.split(torch.arange(len(cases.customers)), _CHUNK)
        return torch.cat([self.scores(retailer, cases, index) for index in every])


class PersonalizedTask(RecommendationTask):
    """Blends a shared model with each retailer's local scores."""

    def units(self, cut: RetailerCases) -> CustomerExamples:
        """Return training examples that are independent of each other."""
        return cut.separate_examples()

    @abstractmethod
    def shared_parts(self, model: nn.Module) -> Parts:
        """Return the score components of the shared model."""

    @abstractmethod
    def local_scores(self, member: RankingMember) -> LocalScores:
        """Return the member's local scores, computed on first use."""

    @abstractmethod
    def untrained(self, facts: RankingFacts, customers: int) -> LocalScores:
        """Return local scores that are not trained, for `LocalScores.filled`.

        Args:
            facts: What the members agree on.
            customers: Rows of local tables of customers.
        """

    def blend_weights(self, model: nn.Module, member: RankingMember) -> dict[str, Tensor]:
        """See `RecommendationTask.blend_weights`."""
        shared, own = self.shared_parts(model), self.local_scores(member)
        return {
            name: personal_weights(shared, own, name, splits)
            for name, splits in member.cases.items()
        }

    def blended(self, model: nn.Module, blend: Blend) -> CaseScores:
        """See `RecommendationTask.blended`."""
        assert isinstance(blend.own, LocalScores)
        return partial(_personal_scores, self.shared_parts(model), blend.own, blend)

    def evaluate(
        self, model: nn.Module, member: RankingMember, split: Split
    ) -> dict[str, MetricSums]:
        """Rank by the blend of local and shared scores, weights selected on validation."""
        shared, own = self.shared_parts(model), self.local_scores(member)
        return {
            name: personalized_metrics(shared, own, name, splits, split)
            for name, splits in member.cases.items()
        }

    def evaluate_shared(
        self, model: nn.Module, member: RankingMember, split: Split
    ) -> dict[str, MetricSums]:
        """Rank by the shared components alone, weights selected on validation."""
        shared = self.shared_parts(model)
        return {
            name: blended_metrics(shared, shared, splits, split)
            for name, splits in member.cases.items()
        }

    def evaluate_local(self, member: RankingMember, split: Split) -> dict[str, MetricSums] | None:
        """Rank by the local scores alone."""
        own = self.local_scores(member)
        return {
            name: local_metrics(own, name, splits, split) for name, splits in member.cases.items()
        }


def personalized_metrics(
    shared: Parts, own: LocalScores, retailer: str, splits: Splits, split: Split
) -> MetricSums:
    """Return the ranking metrics of a retailer under the blend of local and shared scores."""
    cases, weights = splits[split], personal_weights(shared, own, retailer, splits)
    if split == "validation":
        ranks = _beside(partial(_rows, own.validation[retailer]), shared)
        return ranking_tally(partial(_weighted, ranks, cases, weights), cases.ranking)
    scores = partial(_personal_scores, shared, own, Blend(retailer, weights, own))
    return ranking_tally(partial(scores, cases), cases.ranking)


def personal_weights(shared: Parts, own: LocalScores, retailer: str, splits: Splits) -> Tensor:
    """Return the weights of a retailer's local scores and the shared parts, float64 [1 + P]."""
    validation = splits["validation"]
    known = _beside(partial(_rows, own.validation[retailer]), shared)
    return chosen_weights(partial(known, validation), validation.ranking)


def _personal_scores(
    shared: Parts, own: LocalScores, blend: Blend, cases: Cases, index: Tensor
) -> Tensor:
    assert blend.weights is not None
    beside = _beside(partial(own.scores, blend.group, cases), shared)
    return _weighted(beside, cases, blend.weights, index)


def local_metrics(own: LocalScores, retailer: str, splits: Splits, split: Split) -> MetricSums:
    """Return the ranking metrics of a retailer under its local scores."""
    cases = splits[split]
    return ranking_tally(partial(own.scores, retailer, cases), cases.ranking)


def blended_metrics(chooses: Parts, ranks: Parts, splits: Splits, split: Split) -> MetricSums:
    """Return the ranking metrics of score components, weighted as validation selects.

    Args:
        chooses: The components of validation cases.
        ranks: The same components of the cases of `split`.
        splits: The retailer's cases.
        split: The cases to rank.
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
