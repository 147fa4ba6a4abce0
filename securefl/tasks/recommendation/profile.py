"""Ranking with profiles, a model that is small enough to train privately.

A customer's loss depends on their own purchases alone: no exact popularity enters it, and their
weights sum to 1 independently of all other customers.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from securefl.ml.batches import Batch
from securefl.tasks.common.histories import CustomerExamples
from securefl.tasks.common.ranking_examples import Cases, RetailerCases
from securefl.tasks.common.settings import ProfileSettings
from securefl.tasks.recommendation.models.factors import FactorRanker
from securefl.tasks.recommendation.models.profile import ProfileRanker
from securefl.tasks.recommendation.models.ranking_losses import ranking_losses
from securefl.tasks.recommendation.task import RankingFacts, RecommendationTask


class ProfileTask(RecommendationTask):
    """Ranks a retailer's products from the categories that a customer bought."""

    settings: ProfileSettings

    def units(self, cut: RetailerCases) -> CustomerExamples:
        """Return training examples that are independent of each other."""
        return cut.separate_examples()

    def model(self, facts: RankingFacts, customers: int) -> ProfileRanker | FactorRanker:
        """Return the model, which has no parameters of single customers."""
        del customers
        return ProfileRanker(self.settings, facts.levels, len(facts.products))

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the weighted loss of hidden purchases given the shown ones, float [B]."""
        _, items, weights, _ = batch
        return masked_loss(model, items, weights, self.settings.shown)

    def scores(self, model: nn.Module, cases: Cases, index: Tensor) -> Tensor:
        """See `RecommendationTask.scores`; no local popularity is added."""
        return self.parts(model, cases, index).sum(dim=2)

    def parts(self, model: nn.Module, cases: Cases, index: Tensor) -> Tensor:
        """Return shared popularity and taste, float [B, I, 2]; of factors see `FactorRanker`."""
        if isinstance(model, FactorRanker):
            return model.parts(*cases.known.padded(index))
        ranker = profile_ranker(model)
        taste = ranker.taste(*cases.known.padded(index))
        return torch.stack((ranker.common(len(index)), taste), dim=2)


def masked_loss(
    scores_of: Callable[[Tensor, Tensor], Tensor], items: Tensor, weights: Tensor, share: float
) -> Tensor:
    """Return the weighted loss of hidden purchases given the shown ones, float [B].

    Args:
        scores_of: From products and a mask of the shown ones, [B, K] each, to scores [B, I].
        items: Products that each customer bought, int64 [B, K].
        weights: Weight of each purchase, float [B, K]; 0 is padding.
        share: Probability with which each purchase is shown, independently of the others.
    """
    shown = shown_purchases(weights, share)
    hidden = weights * ~shown
    return softmax_loss(scores_of(items, shown.to(weights.dtype)), items, hidden)


def shown_purchases(weights: Tensor, share: float) -> Tensor:
    """Return which purchases are shown, bool [B, K]: each with this probability by itself."""
    return (torch.rand_like(weights) < share) & (weights > 0)


def softmax_loss(scores: Tensor, items: Tensor, weights: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of purchases under a softmax, float [B].

    Args:
        scores: Scores of all products, float [B, I].
        items: Products that each customer bought, int64 [B, K].
        weights: Weight of each purchase in the loss, float [B, K].
    """
    targets = weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-9)
    found = ranking_losses("softmax", scores.gather(1, items), scores)
    return (targets * found).sum(dim=1)


def profile_ranker(model: nn.Module) -> ProfileRanker:
    """Return the model as a profile model.

    Raises:
        TypeError: If it is of another class.
    """
    if not isinstance(model, ProfileRanker):
        raise TypeError(f"{type(model).__name__} does not rank by profiles")
    return model
