"""Purchases in order under differential privacy, a unit being a customer's whole sequence.

A customer's loss depends on nothing but her own purchases: no exact popularity enters it, and her
weights sum to 1 whatever the others bought. What a retailer serves is a blend with its own part.
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
    """Ranks from sequences, nothing of one customer being in another one's loss or scores."""

    def units(self, cut: RetailerCases) -> OrderedExamples:
        """The customers to train on, with nothing in a unit that comes from another one."""
        return OrderedExamples.of(cut.separate_examples())

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The loss of each customer from at most `privacy.interactions` of her purchases, [B]."""
        _, items, weights, _, baskets = batch
        kept, present, weights = sample_purchases(weights, self.config.privacy.interactions)
        items, baskets = items.gather(1, kept), baskets.gather(1, kept)
        ranker = sequence_ranker(model)
        nothing = weights.new_zeros(()).expand(len(items), ranker.count)
        return ranker.losses(items, present, weights, baskets, nothing)

    def scores(self, model: nn.Module, cases: Cases, index: Tensor) -> Tensor:
        """See `RecommendationTask.scores`; the retailer's own popularity does not enter them."""
        return self.parts(model, cases, index).sum(dim=2)


class PrivateSequentialTask(SeparateSequentialTask, BlendedTask):
    """The same with a retailer's own part beside it.

    A model that never leaves needs no noise, so that the own part has one with learned vectors and
    with settings of its own.
    """

    def twin(self) -> SequentialTask:
        """See `BlendedTask`."""
        own = {name: getattr(self.settings.own, name) for name in _OF_THE_MODEL}
        model = self.settings.model_copy(update={**own, "vectors": "learned"})
        return SequentialTask(self.config.model_copy(update={"model": model}))

    def twin_units(self, cut: RetailerCases) -> OrderedExamples:
        """See `BlendedTask`."""
        return SequentialTask.units(self, cut)
