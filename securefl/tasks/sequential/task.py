"""Purchases in order: rank what a customer never bought, so that her next basket's news come first.

The same cut, competitors and metrics as task `recommendation`, so that the figures stand side by
side; a unit is the whole sequence of a customer at a retailer.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from securefl.ml.batches import Batch
from securefl.tasks.common.contribution_bounds import sample_rows
from securefl.tasks.common.histories import OrderedExamples
from securefl.tasks.common.ranking_examples import Cases, RetailerCases
from securefl.tasks.recommendation.task import RankingFacts, RecommendationTask
from securefl.tasks.sequential.model import SequenceRanker
from securefl.tasks.sequential.settings import SequenceSettings


class SequentialTask(RecommendationTask):
    """Ranks a retailer's products from what a customer bought in order."""

    name: ClassVar[str] = "sequential"
    settings: SequenceSettings

    def units(self, cut: RetailerCases) -> OrderedExamples:
        """The customers to train on, with the order of what they bought."""
        return OrderedExamples.of(cut.examples())

    def model(self, facts: RankingFacts, customers: int) -> SequenceRanker:
        """The same for every number of customers: none has a vector of her own."""
        del customers
        return SequenceRanker(self.settings, facts.levels, len(facts.products))

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Surprise at what is new in each customer's baskets, given those before, float [B]."""
        ranker = sequence_ranker(model)
        _, items, weights, prior, baskets = batch
        kept, present, weights = sample_purchases(weights, self.settings.purchases)
        return ranker.losses(
            items.gather(1, kept), present, weights, baskets.gather(1, kept), prior
        )

    def scores(self, model: nn.Module, cases: Cases, index: Tensor) -> Tensor:
        """See `RecommendationTask.scores`."""
        return self.parts(model, cases, index).sum(dim=2) + cases.prior

    def parts(self, model: nn.Module, cases: Cases, index: Tensor) -> Tensor:
        """Shared popularity and taste, float [B, I, 2]."""
        ranker = sequence_ranker(model)
        items, present = cases.known.padded(index)
        taste = ranker.taste(items, present, cases.known.padded_baskets(index))
        return torch.stack((ranker.common(len(index)), taste), dim=2)


def sample_purchases(weights: Tensor, limit: int) -> tuple[Tensor, Tensor, Tensor]:
    """At most `limit` of each customer's purchases, each as likely as any other.

    Args:
        weights: How much each counts, float [B, K]; 0 is padding.
        limit: k.

    Returns:
        Their columns, int64 [B, k]; how many purchases each stands for, float [B, k]; and their
        weights, float [B, k], which add up to what they did.
    """
    place = torch.arange(weights.shape[1]).expand_as(weights)
    kept, there = sample_rows(place, weights > 0, limit)
    bought = (weights > 0).sum(dim=1, keepdim=True)
    present = there * (bought / there.sum(dim=1, keepdim=True)).to(weights.dtype)
    chosen = weights.gather(1, kept) * there
    share = weights.sum(dim=1, keepdim=True) / chosen.sum(dim=1, keepdim=True)
    return kept, present, chosen * share


def sequence_ranker(model: nn.Module) -> SequenceRanker:
    """The model, which has to be of this kind.

    Raises:
        TypeError: If it is none.
    """
    if not isinstance(model, SequenceRanker):
        raise TypeError(f"{type(model).__name__} does not rank sequences")
    return model
