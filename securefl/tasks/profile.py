"""Purchases with a model that can be trained privately: what is shared hides every customer.

Two things differ from the other recommenders. A customer's loss depends on nothing but her own
purchases: no exact popularity enters it, and her weights sum to 1 whatever the others bought. And a
retailer serves its own statistics beside the shared model, in a blend that it chooses itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import ClassVar, Final

import torch
from torch import Tensor, nn

from securefl.data.tables import RetailerTables
from securefl.evaluation.blend import blend_weights
from securefl.evaluation.ranking import ranking_tally
from securefl.evaluation.tally import Tally
from securefl.models.profile import ProfileRanker
from securefl.models.settings import ProfileSettings
from securefl.tasks.base import Batch, Split
from securefl.tasks.histories import CustomerExamples
from securefl.tasks.own_part import Neighbours, multi_hot
from securefl.tasks.purchase_cases import Cases, RetailerCases
from securefl.tasks.recommendation import RankingFacts, RankingMember, RecommendationTask

_RIDGE: Final = 200.0
_CHUNK: Final = 256


@dataclass(frozen=True)
class ProfileMember(RankingMember):
    """A member that can tell what is bought together at its own shop.

    Attributes:
        products: Number of products I.
    """

    products: int

    @cached_property
    def neighbours(self) -> Neighbours:
        """The member's own statistics, from its training purchases."""
        return Neighbours.of(self.examples.histories, self.products, _RIDGE)


class ProfileTask(RecommendationTask):
    """Ranks a retailer's products from what kinds of things a customer bought."""

    settings: ProfileSettings
    parts: ClassVar[tuple[str, ...]] = ("popularity", "neighbours", "shared popularity", "taste")

    def prepare(self, tables: RetailerTables, facts: RankingFacts) -> ProfileMember:
        """See `RecommendationTask.prepare`."""
        return _profiled(super().prepare(tables, facts), len(facts.products))

    def units(self, cut: RetailerCases) -> CustomerExamples:
        """The customers to train on, with nothing in a unit that comes from another one."""
        return cut.separate_examples()

    def pool(self, members: Sequence[RankingMember], facts: RankingFacts) -> ProfileMember:
        """See `RecommendationTask.pool`."""
        return _profiled(super().pool(members, facts), len(facts.products))

    def model(self, facts: RankingFacts, customers: int) -> ProfileRanker:
        """The same for every number of customers: none has a vector of her own."""
        del customers
        return ProfileRanker(self.settings, facts.levels, len(facts.products))

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Weighted surprise at a part of what she bought, given the other part, float [B]."""
        _, items, weights, _ = batch
        shown = (torch.rand_like(weights) < self.settings.shown) & (weights > 0)
        hidden = weights * ~shown
        targets = hidden / hidden.sum(dim=1, keepdim=True).clamp(min=1e-9)
        scores: Tensor = model(items, shown.to(weights.dtype))
        surprise = torch.logsumexp(scores, dim=1, keepdim=True) - scores.gather(1, items)
        return (targets * surprise).sum(dim=1)

    def evaluate(self, model: nn.Module, member: RankingMember, split: Split) -> dict[str, Tally]:
        """Ranks by the blend of own and shared parts, its weights chosen on validation."""
        ranker = _profile_ranker(model)
        assert isinstance(member, ProfileMember)
        tallies = {}
        for name, splits in member.cases.items():
            weights = _weights(ranker, member, splits["validation"])
            score = partial(_blended, ranker, member, splits[split], weights)
            tallies[name] = ranking_tally(score, splits[split].ranking)
        return tallies

    def released(self, model: nn.Module, member: RankingMember, split: Split) -> dict[str, Tally]:
        """Ranks by what is released, and by nothing else."""
        ranker = _profile_ranker(model)
        return {
            name: ranking_tally(partial(_shared, ranker, splits[split]), splits[split].ranking)
            for name, splits in member.cases.items()
        }


def _profiled(member: RankingMember, products: int) -> ProfileMember:
    return ProfileMember(
        name=member.name,
        examples=member.examples,
        samples=member.samples,
        customers=0,
        cases=member.cases,
        products=products,
    )


def _profile_ranker(model: nn.Module) -> ProfileRanker:
    if not isinstance(model, ProfileRanker):
        raise TypeError(f"{type(model).__name__} does not rank by profiles")
    return model


def _shared(ranker: ProfileRanker, cases: Cases, index: Tensor) -> Tensor:
    items, present = cases.known.padded(index)
    scores: Tensor = ranker(items, present)
    return scores


def _parts(ranker: ProfileRanker, member: ProfileMember, cases: Cases, index: Tensor) -> Tensor:
    """Scores of all products by each of `ProfileTask.parts`, float32 [B, I, 4]."""
    items, present = cases.known.padded(index)
    parts = (
        cases.prior.expand(len(index), -1),
        member.neighbours.scores(multi_hot(items, present, member.products)),
        ranker.common(len(index)),
        ranker.taste(items, present),
    )
    return torch.stack(parts, dim=2)


def _blended(
    ranker: ProfileRanker, member: ProfileMember, cases: Cases, weights: Tensor, index: Tensor
) -> Tensor:
    return _parts(ranker, member, cases, index) @ weights.float()


def _weights(ranker: ProfileRanker, member: ProfileMember, cases: Cases) -> Tensor:
    """The blend that a retailer's own validation purchases ask for."""
    ranking = cases.ranking
    candidates = torch.cat([ranking.positive[:, None], ranking.negatives], dim=1)
    found = []
    for index in torch.split(torch.arange(len(candidates)), _CHUNK):
        chosen = candidates[index].clamp(min=0)[:, :, None].expand(-1, -1, len(ProfileTask.parts))
        found.append(_parts(ranker, member, cases, index).gather(1, chosen))
    return blend_weights(torch.cat(found), candidates >= 0)
