"""Purchases with a model that can be trained privately: what is shared hides every customer.

A customer's loss depends on nothing but her own purchases: no exact popularity enters it, and her
weights sum to 1 whatever the others bought.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from securefl.ml.batches import Batch
from securefl.tasks.common.histories import CustomerExamples
from securefl.tasks.common.ranking_examples import Cases, RetailerCases
from securefl.tasks.common.settings import ProfileSettings
from securefl.tasks.recommendation.models.profile import ProfileRanker
from securefl.tasks.recommendation.models.ranking_losses import ranking_losses
from securefl.tasks.recommendation.task import RankingFacts, RecommendationTask


class ProfileTask(RecommendationTask):
    """Ranks a retailer's products from what kinds of things a customer bought."""

    settings: ProfileSettings

    def units(self, cut: RetailerCases) -> CustomerExamples:
        """The customers to train on, with nothing in a unit that comes from another one."""
        return cut.separate_examples()

    def model(self, facts: RankingFacts, customers: int) -> ProfileRanker:
        """The same for every number of customers: none has a vector of her own."""
        del customers
        return ProfileRanker(self.settings, facts.levels, len(facts.products))

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Weighted surprise at a part of what she bought, given the other part, float [B]."""
        _, items, weights, _ = batch
        return masked_loss(model, items, weights, self.settings.shown)

    def scores(self, model: nn.Module, cases: Cases, index: Tensor) -> Tensor:
        """See `RecommendationTask.scores`; nothing but the model enters them."""
        return self.parts(model, cases, index).sum(dim=2)

    def parts(self, model: nn.Module, cases: Cases, index: Tensor) -> Tensor:
        """Shared popularity and taste, float [B, I, 2]."""
        ranker = profile_ranker(model)
        taste = ranker.taste(*cases.known.padded(index))
        return torch.stack((ranker.common(len(index)), taste), dim=2)


def masked_loss(
    scores_of: Callable[[Tensor, Tensor], Tensor], items: Tensor, weights: Tensor, share: float
) -> Tensor:
    """Weighted surprise at a part of what customers bought, given the other part, float [B].

    Args:
        scores_of: Products and which of them are shown, [B, K] each, to scores of all products.
        items: What each customer bought, int64 [B, K].
        weights: How much each purchase counts, float [B, K]; 0 is padding.
        share: Of the purchases that are shown, each by a coin of its own.
    """
    shown = (torch.rand_like(weights) < share) & (weights > 0)
    hidden = weights * ~shown
    return softmax_loss(scores_of(items, shown.to(weights.dtype)), items, hidden)


def softmax_loss(scores: Tensor, items: Tensor, weights: Tensor) -> Tensor:
    """Mean surprise at what customers bought, under a softmax over all products, float [B].

    Args:
        scores: Of all products, float [B, I].
        items: What each bought, int64 [B, K].
        weights: How much it counts to foresee each, float [B, K].
    """
    targets = weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-9)
    found = ranking_losses("softmax", scores.gather(1, items), scores)
    return (targets * found).sum(dim=1)


def profile_ranker(model: nn.Module) -> ProfileRanker:
    """The model, which has to be of this kind.

    Raises:
        TypeError: If it is none.
    """
    if not isinstance(model, ProfileRanker):
        raise TypeError(f"{type(model).__name__} does not rank by profiles")
    return model
