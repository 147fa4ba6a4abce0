"""Sequential recommendation: rank products that a customer never bought, from ordered baskets.

Split, negatives and metrics are those of task `recommendation`, so that results are comparable; a
training example is the whole sequence of a customer at a retailer.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from securefl.ml.batches import Batch
from securefl.tasks.common.contribution_bounds import sample_rows
from securefl.tasks.common.histories import Histories, OrderedExamples
from securefl.tasks.common.ranking_examples import Cases, RetailerCases
from securefl.tasks.recommendation.task import RankingFacts, RecommendationTask
from securefl.tasks.sequential.model import SequenceRanker
from securefl.tasks.sequential.settings import SequenceSettings


class SequentialTask(RecommendationTask):
    """Ranks a retailer's products from a customer's ordered purchases."""

    name: ClassVar[str] = "sequential"
    settings: SequenceSettings

    def units(self, cut: RetailerCases) -> OrderedExamples:
        """Return the customers as training examples, with the order of their purchases."""
        return OrderedExamples.of(cut.examples())

    def model(self, facts: RankingFacts, customers: int) -> SequenceRanker:
        """Return the model, which has no parameters of single customers."""
        del customers
        return SequenceRanker(self.settings, facts.levels, len(facts.products))

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of new products in each customer's baskets, float [B]."""
        ranker = sequence_ranker(model)
        _, items, weights, prior, baskets = batch
        kept, present, weights = sample_purchases(weights, self.settings.purchases)
        return ranker.losses(
            items.gather(1, kept), present, weights, baskets.gather(1, kept), prior
        )

    def scores(self, model: nn.Module, cases: Cases, index: Tensor) -> Tensor:
        """See `RecommendationTask.scores`."""
        return self.parts(model, cases, index).sum(dim=2) + cases.prior

    def inner_product(
        self, model: nn.Module, known: Histories, rows: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `RecommendationTask.inner_product`."""
        ranker, every = sequence_ranker(model), torch.arange(len(rows))
        items, present = known.padded(every)
        customers = ranker.customers(items, present, known.padded_baskets(every))
        return customers, ranker.products(), ranker.common(1)[0]

    def parts(self, model: nn.Module, cases: Cases, index: Tensor) -> Tensor:
        """Return shared popularity and taste, float [B, I, 2]."""
        ranker = sequence_ranker(model)
        items, present = cases.known.padded(index)
        taste = ranker.taste(items, present, cases.known.padded_baskets(index))
        return torch.stack((ranker.common(len(index)), taste), dim=2)


def sample_purchases(weights: Tensor, limit: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sample at most `limit` of each customer's purchases, uniformly without replacement.

    Args:
        weights: Weight of each purchase, float [B, K]; 0 is padding.
        limit: Largest number k.

    Returns:
        Their columns, int64 [B, k]; the number of purchases that each represents, float [B, k];
        and their weights, float [B, k], rescaled to the sum before sampling.
    """
    place = torch.arange(weights.shape[1]).expand_as(weights)
    kept, there = sample_rows(place, weights > 0, limit)
    bought = (weights > 0).sum(dim=1, keepdim=True)
    present = there * (bought / there.sum(dim=1, keepdim=True)).to(weights.dtype)
    chosen = weights.gather(1, kept) * there
    share = weights.sum(dim=1, keepdim=True) / chosen.sum(dim=1, keepdim=True)
    return kept, present, chosen * share


def sequence_ranker(model: nn.Module) -> SequenceRanker:
    """Return the model as a sequence model.

    Raises:
        TypeError: If it is of another class.
    """
    if not isinstance(model, SequenceRanker):
        raise TypeError(f"{type(model).__name__} does not rank sequences")
    return model
