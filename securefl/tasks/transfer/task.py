"""Cross-domain recommendation: transfer from source departments to target departments.

The first rounds train on the source departments, of which every customer has purchases; the others
on the target departments, of which a share of the customers has some. The model maps a customer's
purchases of any department to a low-rank code, and the code to the next purchases. The encoder, and
the parameters of brands, sizes and prices, carry over.
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
from securefl.tasks.common.purchase_lines import Ints, Pairs, Purchases, pair_hash
from securefl.tasks.common.ranking_examples import PRIOR_FLOOR, Cases, RetailerCases
from securefl.tasks.content.model import OUT_OF_REACH, DomainRanker
from securefl.tasks.content.task import FeatureFacts, FeatureTask
from securefl.tasks.recommendation.profile import softmax_loss
from securefl.tasks.recommendation.task import RankingFacts, RankingMember
from securefl.tasks.transfer.settings import TransferSplitSettings

_HASH_RANGE: Final = 1 << 16
"""Resolution of a share that a hash decides; in the hash it stands for the product."""
_HIDDEN: Final = 0.5
"""Probability with which all of a customer's target purchases are hidden in a step."""


@dataclass(frozen=True)
class TransferFacts(FeatureFacts):
    """What all members agree on.

    Attributes:
        target: Mask of the products of the target departments, bool [I].
    """

    format_name: ClassVar[str] = "TransferFacts"
    target: Tensor


@dataclass(frozen=True)
class DomainExamples(CustomerExamples):
    """Customers as training examples of one domain.

    Attributes:
        target: Whether the loss is over the target domain.
    """

    target: bool

    def sized_batch(self, index: Tensor, width: int | None) -> Batch:
        """Return items int64 [B, K], weights float32 [B, K], 0 at padding, and domain bool [B]."""
        items, weights = self.histories.padded(index, width)
        return items, weights, torch.full((len(index),), self.target)


@dataclass(frozen=True)
class TransferMember(RankingMember):
    """A member with purchases of the target departments.

    Attributes:
        examples: All customers with their purchases of the source departments.
        target_examples: The customers with purchases of the target, with all their purchases.
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
        """Return the lines of the target departments, which define the evaluation cases."""
        lines = super().purchases(tables, facts)
        return lines.at(_transfer(facts).target.numpy()[lines.item])

    def member(
        self, tables: RetailerTables, cut: RetailerCases, facts: RankingFacts
    ) -> TransferMember:
        """See `RecommendationTask.member`."""
        lines = super().purchases(tables, facts)
        past = Past.of(
            lines,
            cut,
            _transfer(facts).target,
            self.split.customers,
            at_least_one=not self.hides_units,
        )
        source, both = past.until("training", shown=False), past.until("training")
        known = past.known_customers
        return TransferMember(
            name=tables.name,
            examples=_units(source.at(source.start.diff().nonzero().flatten()), target=False),
            target_examples=_units(both.at(known), target=True),
            samples=len(source.items),
            customers=cut.customers,
            cases={tables.name: past.cases()},
            ids=cut.cut.customers,
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
        """Return the source examples in the first rounds, then the target examples."""
        if number <= self.split.source_rounds:
            return member.examples
        return _of_target(member).target_examples

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of hidden purchases of the domain, given shown ones of all, float [B].

        The softmax is over the domain's products. For half of the customers no purchase of the
        target is shown, as for customers who are new to it.
        """
        items, weights, of_target = batch
        ranker = domain_ranker(model)
        target = ranker.target
        inside = target[items] == of_target[:, None]
        newcomer = (torch.rand(len(items), 1) < _HIDDEN) & of_target[:, None]
        sampled = torch.rand_like(weights) < self.settings.shown
        shown = sampled & (weights > 0) & ~(newcomer & target[items])
        hidden = weights * (~shown & inside)
        scores = ranker(items, shown.to(weights.dtype))
        scores = scores.masked_fill(target[None, :] != of_target[:, None], OUT_OF_REACH)
        return softmax_loss(scores, items, hidden)

    def rankable(self, facts: RankingFacts) -> Tensor:
        """See `RecommendationTask.rankable`: the products of the target departments."""
        return _transfer(facts).target

    @property
    def noised_baseline_name(self) -> str | None:
        """None: too few customers have purchases for a popularity list."""
        return None


@dataclass(frozen=True)
class Past:
    """Purchases of a retailer's customers before the evaluation cases, by domain.

    Attributes:
        cut: Its purchases of the target departments, split.
        row: Customers' rows of the lines of the source departments, int64 [P].
        item: Products of those lines, int64 [P].
        time: Time of those purchases, int64 [P].
        has_target: Mask of the customers whose target purchases may be used, bool [n].
    """

    cut: RetailerCases
    row: Ints
    item: Ints
    time: Ints
    has_target: npt.NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        lines: Purchases,
        cut: RetailerCases,
        target: Tensor,
        share: float,
        *,
        at_least_one: bool,
    ) -> Past:
        """Build it from all lines; a hash selects about `share` of the customers for the target.

        Each customer's own hash decides. `at_least_one` selects the smallest hash in any case,
        which under a budget would let one customer take the place of another.
        """
        customers = cut.cut.customers
        own = lines.at(np.isin(lines.customer, customers) & ~target.numpy()[lines.item])
        hashed = pair_hash(customers, np.full(len(customers), _HASH_RANGE)) % np.uint64(_HASH_RANGE)
        has_target = hashed < np.uint64(share * _HASH_RANGE)
        if at_least_one and len(customers):  # or the retailer could not train
            has_target[hashed.argmin()] = True
        return cls(cut, np.searchsorted(customers, own.customer), own.item, own.time, has_target)

    @property
    def known_customers(self) -> Tensor:
        """Rows of the customers with target purchases, int64."""
        return torch.from_numpy(np.flatnonzero(self.has_target))

    def until(self, what: Literal["training", "known"], *, shown: bool = True) -> Histories:
        """Return purchases of both domains up to each customer's last target purchase of a part.

        Args:
            what: Part of the split, which ends before the held-out basket.
            shown: Whether the selected customers' target purchases are included.
        """
        pairs: Pairs = getattr(self.cut.cut, what)
        before = self.time <= pairs.latest(self.cut.customers)[self.row]
        seen = self.has_target[pairs.row] & shown
        row = np.concatenate([self.row[before], pairs.row[seen]])
        item = np.concatenate([self.item[before], pairs.item[seen]])
        return _histories(row, item, self.cut.customers)

    def cases(self) -> Mapping[Split, Cases]:
        """Return the held-out purchases; validation has only customers with target purchases."""
        found = self.cut.cases()
        popularity = torch.zeros(self.cut.products)
        pairs = self.cut.cut.training
        items = torch.from_numpy(pairs.item[self.has_target[pairs.row]])
        popularity.index_add_(0, items, torch.ones(len(items)))
        share = popularity / popularity.mean().clamp(min=torch.finfo(torch.float32).tiny)
        prior = self.cut.settings.prior * (share + PRIOR_FLOOR).log()
        known = {"validation": self.until("training"), "test": self.until("known")}
        cases = {
            split: replace(part, known=known[split], prior=prior, popularity=popularity)
            for split, part in found.items()
        }
        return {**cases, "validation": cases["validation"].at(self.known_customers)}


def _histories(row: Ints, item: Ints, customers: int) -> Histories:
    """Return distinct pairs as histories in which every purchase has the same weight."""
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
        raise TypeError(f"{member.name} has no target departments")
    return member


def domain_ranker(model: nn.Module) -> DomainRanker:
    """Return the model as one of two domains.

    Raises:
        TypeError: If it is of another class.
    """
    if not isinstance(model, DomainRanker):
        raise TypeError(f"{type(model).__name__} has no domains")
    return model
