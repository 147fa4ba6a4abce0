"""Item-to-item ranking from co-purchases, summed over all retailers' customers in one round.

The shared parameters are the Gram matrix of an agreed set of items. Each retailer solves it for
the item-to-item weights, and ranks by a blend of their scores with local scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final

import numpy as np
import torch
from torch import Tensor, nn

from securefl.config.schema import RunConfig
from securefl.data.tables import RetailData, RetailerTables
from securefl.ml.batches import Batch
from securefl.privacy.mechanisms import mechanism_for
from securefl.tasks.common.purchase_lines import buyers
from securefl.tasks.common.ranking_examples import Cases, RetailerCases
from securefl.tasks.recommendation.item_knn import neighbours
from securefl.tasks.recommendation.models.ease import (
    EaseRanker,
    ItemToItem,
    multi_hot,
    nearest_gram,
)
from securefl.tasks.recommendation.personalization import LocalScores, Parts, PersonalizedTask
from securefl.tasks.recommendation.settings import EaseSettings
from securefl.tasks.recommendation.task import LEVELS, RankingFacts, RankingMember

_FLOOR: Final = 0.1
"""Added to an item's count, in units of the mean item's, before the logarithm."""


@dataclass(frozen=True)
class EaseFacts(RankingFacts):
    """What all members agree on.

    Attributes:
        rows: The item of each product, int64 [I]; -1 for products that belong to none.
    """

    format_name: ClassVar[str] = "EaseFacts"
    rows: Tensor


@dataclass(frozen=True, kw_only=True)
class LocalItemScores(LocalScores):
    """A retailer's recent sales, and its local item-to-item model of all products.

    Attributes:
        together: Item-to-item model of its own customers.
    """

    together: ItemToItem

    def parts(self, cases: Cases, index: Tensor) -> Tensor:
        """See `LocalScores.parts`; float32 [B, I, 2]."""
        prior = cases.prior.expand(len(index), -1)
        history = multi_hot(*cases.known.padded(index), prior.shape[1])
        return torch.stack((prior, self.together.scores(history)), dim=2)


@dataclass(frozen=True)
class EaseMember(RankingMember):
    """A member with local scores.

    Attributes:
        products: Number of products I.
        ridge: Regularisation of its local item-to-item model, in customers.
    """

    products: int
    ridge: float

    @cached_property
    def local(self) -> LocalItemScores:
        """The local scores, computed on first use."""
        together = neighbours(self.examples.histories, self.products, self.ridge)
        return LocalItemScores(weights={}, validation={}, together=together).weighed(self.cases)


class EaseTask(PersonalizedTask):
    """Ranks a retailer's products by co-purchases of all retailers' customers."""

    settings: EaseSettings

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        self.noised = mechanism_for(config.privacy).private

    def agree(self, data: RetailData) -> EaseFacts:
        """See `RecommendationTask.agree`; items are selected from the same public counts."""
        facts = super().agree(data)
        return EaseFacts(**vars(facts), rows=self._rows(data, facts))

    def member(
        self, tables: RetailerTables, cut: RetailerCases, facts: RankingFacts
    ) -> RankingMember:
        """See `RecommendationTask.member`; every customer counts the same in the mean."""
        return self._member(super().member(tables, cut, facts), facts)

    def pool(self, members: Sequence[RankingMember], facts: RankingFacts) -> EaseMember:
        """See `RecommendationTask.pool`."""
        return self._member(super().pool(members, facts), facts)

    def model(self, facts: RankingFacts, customers: int) -> EaseRanker:
        """Return a Gram matrix of zeros."""
        del customers
        assert isinstance(facts, EaseFacts)
        return EaseRanker(facts.rows)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return minus each customer's part of the Gram matrix times the matrix, float [B].

        It is linear in the parameters, so that a gradient step on it is a sum of the parts.
        """
        _, items, weights, _ = batch
        ranker = ease_ranker(model)
        return ranker.losses(ranker.bought(items, weights))

    def shared_parts(self, model: nn.Module) -> Parts:
        """Return the shared parts: log item counts and item-to-item scores, [B, I, 2]."""
        ranker = ease_ranker(model)
        together, counts = self._solved(ranker)

        def parts(cases: Cases, index: Tensor) -> Tensor:
            history = ranker.bought(*cases.known.padded(index))
            popular = (counts + _FLOOR).log().expand(len(index), -1)
            scores = ranker.spread(together.scores(history), 0.0)
            return torch.stack((ranker.spread(popular, float(np.log(_FLOOR))), scores), dim=2)

        return parts

    def local_scores(self, member: RankingMember) -> LocalItemScores:
        """Return recent sales and the local item-to-item model."""
        if not isinstance(member, EaseMember):
            raise TypeError(f"{member.name} has no local item-to-item model")
        return member.local

    def untrained(self, facts: RankingFacts, customers: int) -> LocalItemScores:
        """See `PersonalizedTask`."""
        del facts, customers
        return LocalItemScores(weights={}, validation={}, together=ItemToItem.empty())

    def _solved(self, ranker: EaseRanker) -> tuple[ItemToItem, Tensor]:
        """Return the item-to-item model, and item counts over their mean, float32 [N]."""
        together = ranker.matrix.double()
        # Noise makes the matrix asymmetric and indefinite; the Cholesky factorisation needs it to
        # be symmetric and positive definite.
        if self.noised:
            together = nearest_gram(together)
        counts = together.diagonal()
        unit = counts.mean().clamp(min=torch.finfo(torch.float64).tiny)
        scaled = together / unit
        return ItemToItem.of_gram(scaled, self.settings.ridge), (counts / unit).float()

    def _rows(self, data: RetailData, facts: RankingFacts) -> Tensor:
        if self.settings.level != "product":
            return facts.levels[LEVELS.index(self.settings.level)]
        found = buyers(data).reindex(facts.products).to_numpy(np.int64)
        chosen = np.argsort(-found, kind="stable")[: self.settings.items]
        rows = np.full(len(facts.products), -1, dtype=np.int64)
        rows[chosen] = np.arange(len(chosen))
        return torch.from_numpy(rows)

    def _member(self, member: RankingMember, facts: RankingFacts) -> EaseMember:
        return EaseMember(
            name=member.name,
            examples=member.examples,
            samples=member.customers,
            customers=member.customers,
            cases=member.cases,
            ids=member.ids,
            products=len(facts.products),
            ridge=self.settings.own_ridge,
        )


def ease_ranker(model: nn.Module) -> EaseRanker:
    """Return the model as a Gram matrix model.

    Raises:
        TypeError: If it is of another class.
    """
    if not isinstance(model, EaseRanker):
        raise TypeError(f"{type(model).__name__} is not a Gram matrix")
    return model
