"""Models `mf` and `ncf` under differential privacy, with a customer as the privacy unit.

Without privacy, these models add each retailer's exact popularity to every score and weigh
customers against each other, so that one customer enters the gradients of all. Here each
customer's weights sum to 1 and no popularity enters the loss: the model learns it with the rest,
under the same noise. Personalized predictions blend the shared scores with local popularity.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from securefl.ml.batches import Batch
from securefl.ml.metrics.ranking import ranking_tally
from securefl.ml.metrics.score_blending import chosen_weights
from securefl.ml.metrics.spec import Split
from securefl.ml.metrics.sums import MetricSums
from securefl.tasks.common.contribution_bounds import sample_rows
from securefl.tasks.common.histories import CustomerExamples
from securefl.tasks.common.ranking_examples import Cases, RetailerCases
from securefl.tasks.common.settings import FactorizationSettings, NcfSettings
from securefl.tasks.recommendation.models.factorization import DenseHistories, Factorization
from securefl.tasks.recommendation.models.ncf import NcfRanker
from securefl.tasks.recommendation.task import (
    Blend,
    CaseScores,
    RankingFacts,
    RankingMember,
    RecommendationTask,
)


class PrivateFactorization(DenseHistories, Factorization):
    """`Factorization` in operations that `torch.func` differentiates by customer."""


class PrivateNcf(DenseHistories, NcfRanker):
    """`NcfRanker` in operations that `torch.func` differentiates by customer."""


class PrivatePurchaseTask(RecommendationTask):
    """Ranks a retailer's products with `mf` or `ncf`, trained privately."""

    def units(self, cut: RetailerCases) -> CustomerExamples:
        """Return training examples that are independent of each other."""
        return cut.separate_examples()

    def model(self, facts: RankingFacts, customers: int) -> DenseHistories:
        """Return matrix factorisation or NCF over the assortment."""
        products = len(facts.products)
        if isinstance(self.settings, FactorizationSettings):
            return PrivateFactorization(self.settings, facts.levels, products, customers)
        assert isinstance(self.settings, NcfSettings)
        return PrivateNcf(self.settings, facts.levels, products, customers)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return each customer's loss from at most `privacy.interactions` purchases, float [B]."""
        customer, items, weights, _ = batch
        position = torch.arange(items.shape[1]).expand_as(items)
        kept, present = sample_rows(position, weights > 0, self.config.privacy.interactions)
        # Normalised within the customer: a scale over all of them would leak into each gradient.
        weights = weights.gather(1, kept) * present
        share = weights / weights.sum(dim=1, keepdim=True)
        ranker = _ranker(model)
        return ranker.losses(customer, items.gather(1, kept), share, _nothing(ranker, len(items)))

    def evaluate(
        self, model: nn.Module, member: RankingMember, split: Split
    ) -> dict[str, MetricSums]:
        """Rank by the blend of local popularity and shared scores, selected on validation."""
        tallies = {}
        for name, weights in self.blend_weights(model, member).items():
            cases = member.cases[name][split]
            scores = self.blended(model, Blend(name, weights, None))
            tallies[name] = ranking_tally(partial(scores, cases), cases.ranking)
        return tallies

    def blend_weights(self, model: nn.Module, member: RankingMember) -> dict[str, Tensor]:
        """See `RecommendationTask.blend_weights`."""
        ranker = _ranker(model)
        validation = {name: splits["validation"] for name, splits in member.cases.items()}
        return {
            name: chosen_weights(partial(_parts, ranker, cases), cases.ranking)
            for name, cases in validation.items()
        }

    def blended(self, model: nn.Module, blend: Blend) -> CaseScores:
        """See `RecommendationTask.blended`."""
        assert blend.weights is not None
        return partial(_blended, _ranker(model), blend.weights.float())

    def evaluate_shared(
        self, model: nn.Module, member: RankingMember, split: Split
    ) -> dict[str, MetricSums]:
        """Rank without the retailer's local popularity."""
        ranker = _ranker(model)
        return {
            name: ranking_tally(partial(_shared, ranker, splits[split]), splits[split].ranking)
            for name, splits in member.cases.items()
        }

    def separate_scores(self, model: nn.Module, cases: Cases, index: Tensor) -> Tensor:
        """See `RecommendationTask.separate_scores`; without the retailer's popularity."""
        return _shared(_ranker(model), cases, index)


def _ranker(model: nn.Module) -> DenseHistories:
    if not isinstance(model, DenseHistories):
        raise TypeError(f"{type(model).__name__} cannot be trained privately")
    return model


def _nothing(ranker: DenseHistories, customers: int) -> Tensor:
    """Return a zero prior of the scores, float [B, I]."""
    return ranker.bias.new_zeros(()).expand(customers, len(ranker.bias))


def _shared(ranker: DenseHistories, cases: Cases, index: Tensor) -> Tensor:
    items, present = cases.known.padded(index)
    return ranker.scores(cases.customers[index], items, present, _nothing(ranker, len(index)))


def _parts(ranker: DenseHistories, cases: Cases, index: Tensor) -> Tensor:
    """Return local popularity, shared popularity and shared taste, float32 [B, I, 3]."""
    shared = _shared(ranker, cases, index)
    popularity = ranker.bias.expand_as(shared)
    own = cases.prior.expand(len(index), -1)
    return torch.stack((own, popularity, shared - popularity), dim=2)


def _blended(ranker: DenseHistories, weights: Tensor, cases: Cases, index: Tensor) -> Tensor:
    return _parts(ranker, cases, index) @ weights
