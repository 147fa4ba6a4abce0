"""Ranking from sequences under differential privacy, with a customer's sequence as the unit.

A customer's loss depends on their own purchases alone: no exact popularity enters it, and their
weights sum to 1 independently of all other customers. Personalized predictions blend the shared
model with local ones.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn

from securefl.ml.batches import Batch
from securefl.tasks.common.histories import OrderedExamples
from securefl.tasks.common.ranking_examples import Cases, RetailerCases
from securefl.tasks.common.settings import LocalModelSettings
from securefl.tasks.recommendation.blending import BlendedTask
from securefl.tasks.sequential.settings import SequenceLocalSettings
from securefl.tasks.sequential.task import SequentialTask, sample_purchases, sequence_ranker

_OF_THE_MODEL: Final = (
    SequenceLocalSettings.model_fields.keys() - LocalModelSettings.model_fields.keys()
)


class SeparateSequentialTask(SequentialTask):
    """Ranks from sequences, with losses and scores that are independent between customers."""

    def units(self, cut: RetailerCases) -> OrderedExamples:
        """Return training examples that are independent of each other."""
        return OrderedExamples.of(cut.separate_examples())

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return each customer's loss from at most `privacy.interactions` purchases, float [B]."""
        _, items, weights, _, baskets = batch
        kept, present, weights = sample_purchases(weights, self.config.privacy.interactions)
        items, baskets = items.gather(1, kept), baskets.gather(1, kept)
        ranker = sequence_ranker(model)
        nothing = weights.new_zeros(()).expand(len(items), ranker.count)
        return ranker.losses(items, present, weights, baskets, nothing)

    def scores(self, model: nn.Module, cases: Cases, index: Tensor) -> Tensor:
        """See `RecommendationTask.scores`; no local popularity is added."""
        return self.parts(model, cases, index).sum(dim=2)


class PrivateSequentialTask(SeparateSequentialTask, BlendedTask):
    """The same, blended with a retailer's local models.

    A model that never leaves the retailer needs no noise, so that the local one has learned vectors
    and settings of its own.
    """

    def twin(self) -> SequentialTask:
        """See `BlendedTask`."""
        own = {name: getattr(self.settings.own, name) for name in _OF_THE_MODEL}
        model = self.settings.model_copy(update={**own, "vectors": "learned"})
        return SequentialTask(self.config.model_copy(update={"model": model}))

    def twin_units(self, cut: RetailerCases) -> OrderedExamples:
        """See `BlendedTask`."""
        return SequentialTask.units(self, cut)
