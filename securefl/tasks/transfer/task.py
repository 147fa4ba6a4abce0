"""What is learned of some departments starts another one: cross-domain recommendation.

The first rounds train on the source departments, of which every customer has a past; the others on
the target departments, of which a part of the customers has one. The model maps what a customer
bought, whatever department it is of, to a few numbers, and those to what she buys next. The way in,
and what is learned of brands, sizes and prices, carries over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from securefl.config.schema import RunConfig
from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import ConfigError, DataError
from securefl.ml.batches import Batch, Examples
from securefl.ml.metrics.spec import Split
from securefl.tasks.base import MemberData
from securefl.tasks.common.histories import CustomerExamples, Histories, joined
from securefl.tasks.common.ranking_examples import PRIOR_FLOOR, Cases, RetailerCases
from securefl.tasks.common.splits import Ints, Pairs, Purchases, pair_hash
from securefl.tasks.content.model import OUT_OF_REACH, DomainRanker
from securefl.tasks.content.task import FeatureFacts, FeatureTask
from securefl.tasks.recommendation.profile import softmax_loss
from securefl.tasks.recommendation.task import RankingFacts, RankingMember
from securefl.tasks.transfer.settings import TransferSplitSettings

_HASH_RANGE: Final = 1 << 16
_HIDDEN: Final = 0.5
"""How often all that a customer bought of the target is hidden from the model in a step."""


@dataclass(frozen=True)
class TransferFacts(FeatureFacts):
    """What all members agree on.

    Attributes:
        target: Which products belong to the target departments, bool [I].
    """

    format_name: ClassVar[str] = "TransferFacts"
    target: Tensor


@dataclass(frozen=True)
class DomainExamples(CustomerExamples):
    """Customers as units of one domain.

    Attributes:
        target: Whether they are trained on for the target.
    """

    target: bool

    def batch(self, index: Tensor) -> Batch:
        """Items int64 [B, K], weights float32 [B, K], 0 at padding, and the domain, bool [B]."""
        items, weights = self.histories.padded(index)
        return items, weights, torch.full((len(index),), self.target)


@dataclass(frozen=True)
class TransferMember(RankingMember):
    """A member with a past of the target departments, too.

    Attributes:
        examples: All customers with what they bought of the source departments.
        target_examples: The customers with a past of the target, with all that they bought.
    """

    target_examples: DomainExamples


class TransferTask(FeatureTask):
    """Ranks the products of the target departments."""

    name: ClassVar[str] = "transfer"
    split: TransferSplitSettings

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        if self.split.source_rounds > config.rounds:
            raise ConfigError(
                f"transfer.source_rounds: {self.split.source_rounds} of {config.rounds} rounds"
            )

    def agree(self, data: RetailData) -> TransferFacts:
        """See `FeatureTask.agree`; with the departments by domain.

        Raises:
            DataError: If one of the two domains has no product.
        """
        facts = super().agree(data)
        department = data.products.set_index("product")["department"].reindex(facts.products)
        target = department.isin(self.split.departments).to_numpy()
        if target.all() or not target.any():
            raise DataError(
                f"{data.source}: {'all' if target.all() else 'no'} products are of the departments"
                f" {', '.join(self.split.departments)} (transfer.departments)"
            )
        return TransferFacts(**vars(facts), target=torch.from_numpy(target.copy()))

    def purchases(self, tables: RetailerTables, facts: RankingFacts) -> Purchases:
        """The lines of the target departments: they decide who is evaluated, and on what."""
        lines = super().purchases(tables, facts)
        return lines.at(_transfer(facts).target.numpy()[lines.item])

    def member(
        self, tables: RetailerTables, cut: RetailerCases, facts: RankingFacts
    ) -> TransferMember:
        """See `RecommendationTask.member`."""
        lines = super().purchases(tables, facts)
        past = Past.of(lines, cut, _transfer(facts).target, self.split.customers)
        source, both = past.until("training", shown=False), past.until("training")
        known = past.known_customers
        return TransferMember(
            name=tables.name,
            examples=_units(source.at(source.start.diff().nonzero().flatten()), target=False),
            target_examples=_units(both.at(known), target=True),
            samples=len(source.items),
            customers=cut.customers,
            cases={tables.name: past.cases()},
        )

    def pool(self, members: Sequence[RankingMember], facts: RankingFacts) -> TransferMember:
        """See `RecommendationTask.pool`."""
        plain = super().pool(members, facts)
        target = joined([_of_target(member).target_examples for member in members])
        parts = {**vars(plain), "examples": _units(plain.examples.histories, target=False)}
        return TransferMember(**parts, target_examples=_units(target.histories, target=True))

    def model(self, facts: RankingFacts, customers: int) -> DomainRanker:
        """See `FeatureTask.model`."""
        del customers
        agreed = _transfer(facts)
        return DomainRanker(self.settings, agreed.features, self.new_products(facts), agreed.target)

    def units_in(self, member: MemberData, number: int) -> Examples:
        """The source in the first rounds, then the target."""
        if number <= self.split.source_rounds:
            return member.examples
        return _of_target(member).target_examples

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Surprise at a part of what she bought of the domain, given others of all, float [B].

        The domain's products compete among themselves. For half of the customers nothing of the
        target is shown, as of those who never bought there.
        """
        items, weights, of_target = batch
        ranker = domain_ranker(model)
        target = ranker.target
        inside = target[items] == of_target[:, None]
        newcomer = (torch.rand(len(items), 1) < _HIDDEN) & of_target[:, None]
        coins = torch.rand_like(weights) < self.settings.shown
        shown = coins & (weights > 0) & ~(newcomer & target[items])
        hidden = weights * (~shown & inside)
        scores = ranker(items, shown.to(weights.dtype))
        scores = scores.masked_fill(target[None, :] != of_target[:, None], OUT_OF_REACH)
        return softmax_loss(scores, items, hidden)

    @property
    def noised_baseline_name(self) -> str | None:
        """None: few customers have a past that a list could be made of."""
        return None


@dataclass(frozen=True)
class Past:
    """What a retailer's customers bought before they are evaluated, by domain.

    Attributes:
        cut: Its purchases of the target departments, cut.
        row: Customers' rows of the lines of the source departments, int64 [P].
        item: Products of those lines, int64 [P].
        time: When they were bought, int64 [P].
        has_target: Which customers' purchases of the target may be looked at, bool [n].
    """

    cut: RetailerCases
    row: Ints
    item: Ints
    time: Ints
    has_target: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, lines: Purchases, cut: RetailerCases, target: Tensor, share: float) -> Past:
        """From all lines; about `share` of the customers, by a hash, have a past of the target."""
        customers = cut.cut.customers
        own = lines.at(np.isin(lines.customer, customers) & ~target.numpy()[lines.item])
        hashed = pair_hash(customers, np.full(len(customers), _HASH_RANGE)) % np.uint64(_HASH_RANGE)
        has_target = hashed < np.uint64(share * _HASH_RANGE)
        has_target[hashed.argmin()] = True  # a retailer with nobody could not train
        return cls(cut, np.searchsorted(customers, own.customer), own.item, own.time, has_target)

    @property
    def known_customers(self) -> Tensor:
        """Rows of those who have a past of the target, int64."""
        return torch.from_numpy(np.flatnonzero(self.has_target))

    def until(self, what: Literal["training", "known"], *, shown: bool = True) -> Histories:
        """What each customer bought of both domains up to the last target purchase of a part.

        Args:
            what: The part of the cut, which ends before the held-out basket.
            shown: Whether the target itself counts, of those whose past of it may be looked at.
        """
        pairs: Pairs = getattr(self.cut.cut, what)
        before = self.time <= pairs.latest(self.cut.customers)[self.row]
        seen = self.has_target[pairs.row] & shown
        row = np.concatenate([self.row[before], pairs.row[seen]])
        item = np.concatenate([self.item[before], pairs.item[seen]])
        return _histories(row, item, self.cut.customers)

    def cases(self) -> Mapping[Split, Cases]:
        """The held-out purchases; validation has those customers alone who have a past."""
        found = self.cut.cases()
        popularity = torch.zeros(self.cut.products)
        pairs = self.cut.cut.training
        items = torch.from_numpy(pairs.item[self.has_target[pairs.row]])
        popularity.index_add_(0, items, torch.ones(len(items)))
        share = popularity / popularity.mean()
        prior = self.cut.settings.prior * (share + PRIOR_FLOOR).log()
        known = {"validation": self.until("training"), "test": self.until("known")}
        cases = {
            split: replace(part, known=known[split], prior=prior, popularity=popularity)
            for split, part in found.items()
        }
        return {**cases, "validation": cases["validation"].at(self.known_customers)}


def _histories(row: Ints, item: Ints, customers: int) -> Histories:
    """Distinct pairs as histories in which every purchase counts the same, whenever it was."""
    pairs = np.unique(np.stack([row, item], axis=1), axis=0)
    start = np.searchsorted(pairs[:, 0], np.arange(customers + 1))
    return Histories(
        start=torch.from_numpy(start),
        items=torch.from_numpy(pairs[:, 1].astype(np.int32)),
        weights=torch.ones(len(pairs)),
        baskets=torch.zeros(len(pairs), dtype=torch.int32),
    )


def _units(histories: Histories, *, target: bool) -> DomainExamples:
    home = torch.zeros(len(histories), dtype=torch.int64)
    return DomainExamples(histories, home, torch.zeros(1, 0), target)


def _transfer(facts: RankingFacts) -> TransferFacts:
    assert isinstance(facts, TransferFacts)
    return facts


def _of_target(member: MemberData) -> TransferMember:
    if not isinstance(member, TransferMember):
        raise TypeError(f"{member.name} knows no target departments")
    return member


def domain_ranker(model: nn.Module) -> DomainRanker:
    """The model, which has to be of this kind.

    Raises:
        TypeError: If it is none.
    """
    if not isinstance(model, DomainRanker):
        raise TypeError(f"{type(model).__name__} knows no domains")
    return model
