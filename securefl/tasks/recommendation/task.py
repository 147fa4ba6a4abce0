"""Recommendation: rank products that a customer never bought, the next purchase first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from securefl.config.schema import RunConfig
from securefl.data.tables import RetailData, RetailerTables
from securefl.data.threads import by_threads
from securefl.errors import ConfigError, DataError
from securefl.ml.batches import Batch
from securefl.ml.item_rows import HasItemAxes, ItemRows
from securefl.ml.metrics.ranking import (
    listed_and_gained,
    ranking_tally,
    ranking_units,
    same_for_all,
)
from securefl.ml.metrics.spec import MetricSpec, Split
from securefl.ml.metrics.sums import MetricSums
from securefl.ml.metrics.unit_sums import UnitSums
from securefl.tasks.base import Judged, MemberData, Task
from securefl.tasks.common.histories import CustomerExamples, Histories, joined
from securefl.tasks.common.purchase_lines import Purchases, buyers
from securefl.tasks.common.ranking_examples import (
    Cases,
    RetailerCases,
    customer_parts,
    last_moment,
    purchases_of,
)
from securefl.tasks.common.settings import (
    FactorizationSettings,
    HierarchicalSettings,
    NcfSettings,
    RankingSettings,
    RecommendationSettings,
)
from securefl.tasks.recommendation.models.factorization import Factorization, PurchaseModel
from securefl.tasks.recommendation.models.hierarchical import HierarchicalFactorization
from securefl.tasks.recommendation.models.ncf import NcfRanker

LEVELS: Final = ("department", "category", "kind")
NEW_PRODUCTS: Final = ", new products"
"""Ends the name of the group of a retailer's cases with new products."""
CaseScores = Callable[[Cases, Tensor], Tensor]
"""From cases and positions of some of them, int64 [B], to scores of all products, [B, I]."""


@dataclass(frozen=True)
class Blend:
    """How a group of a member's cases is served.

    Attributes:
        group: The retailer's name, or that of a further group of its cases.
        weights: Weights of the blend, float64 [P]; None where nothing is blended.
        own: The member's local scores; None without any.
    """

    group: str
    weights: Tensor | None
    own: object | None


@dataclass(frozen=True)
class RankingFacts:
    """What all members agree on.

    Attributes:
        products: The assortment: product ids, int64 [I], ascending.
        levels: Codes of the products on each level of the public hierarchy, int64 [I] each.
        end: The last moment of the agreed period, in ns since 1970.
    """

    format_name: ClassVar[str] = "RankingFacts"
    products: npt.NDArray[np.int64]
    levels: tuple[Tensor, ...]
    end: int


@dataclass(frozen=True)
class RankingMember(MemberData):
    """Customers to train on and their held-out purchases.

    Attributes:
        examples: The customers as training units.
        cases: Retailer to split to held-out purchases: one retailer for a member.
        ids: Customer of each row of the model, int64 [n].
    """

    examples: CustomerExamples
    cases: Mapping[str, Mapping[Split, Cases]]
    ids: npt.NDArray[np.int64]


class RecommendationTask(Task[RankingFacts, RankingMember]):
    """Ranks a retailer's products for a customer.

    Raises:
        ConfigError: If the configured model does not rank purchases.
    """

    name: ClassVar[str] = "recommendation"
    metrics: ClassVar[tuple[MetricSpec, ...]] = tuple(
        MetricSpec(name, higher_is_better=True, counted_as="cases")
        for name in ("ndcg@10_expected", "hr@10", "ndcg@10", "hr@10_full", "ndcg@10_full")
    )

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        if not isinstance(config.model, RankingSettings):
            raise ConfigError(f"model.name: '{config.model.name}' does not rank purchases")
        self.settings: RankingSettings = config.model
        assert isinstance(config.cuts, RecommendationSettings)
        self.split: RecommendationSettings = config.cuts

    def agree(self, data: RetailData) -> RankingFacts:
        """Return the assortment, its hierarchy and the period.

        Raises:
            DataError: If no product was bought by enough customers.
        """
        found = buyers(data)
        products = np.sort(found.index[found >= self.split.min_households].to_numpy(np.int64))
        if not len(products):
            raise DataError(
                f"{data.source}: no product was bought by {self.split.min_households} customers;"
                " an agreed data.period says nothing of customers: set min_households = 1 with it"
            )
        catalogue = data.products.set_index("product").reindex(products)
        end = max(last_moment(m.transactions["time"]) for m in data.members)
        return RankingFacts(products, tuple(_codes(catalogue[level]) for level in LEVELS), end)

    def prepare(self, tables: RetailerTables, facts: RankingFacts) -> RankingMember:
        """Return the retailer's customers, split by `hold_out`.

        Raises:
            DataError: If no customer has enough purchases, and none is to be hidden.
        """
        parts = by_threads(partial(self.purchases, facts=facts), customer_parts(tables))
        cut = RetailerCases(parts, len(facts.products), facts.end, self.split)
        if cut.customers == 0 and not self.hides_units:
            raise DataError(
                f"{tables.name}: no customer bought {self.split.min_products} different products, "
                "new ones on three occasions or more"
            )
        return self.member(tables, cut, facts)

    def purchases(self, tables: RetailerTables, facts: RankingFacts) -> Purchases:
        """Return the retailer's lines to be split."""
        return purchases_of(tables.transactions, facts.products)

    def member(
        self, tables: RetailerTables, cut: RetailerCases, facts: RankingFacts
    ) -> RankingMember:
        """Return the member of a retailer's split purchases."""
        del facts
        examples = self.units(cut)
        return RankingMember(
            name=tables.name,
            examples=examples,
            samples=len(examples.histories.items),
            customers=cut.customers,
            cases={tables.name: cut.cases()},
            ids=cut.cut.customers,
        )

    def units(self, cut: RetailerCases) -> CustomerExamples:
        """Return the customers as training examples."""
        return cut.examples()

    def pool(self, members: Sequence[RankingMember], facts: RankingFacts) -> RankingMember:
        """Return all retailers' customers under one model; each keeps its catalogue and prior."""
        cases: dict[str, Mapping[Split, Cases]] = {}
        customers = 0
        for member in members:
            for name, splits in member.cases.items():
                cases[name] = {split: part.after(customers) for split, part in splits.items()}
            customers += member.customers
        return RankingMember(
            name="pooled",
            examples=joined([member.examples for member in members]),
            samples=sum(member.samples for member in members),
            customers=customers,
            cases=cases,
            ids=np.concatenate([member.ids for member in members]),
        )

    def model(self, facts: RankingFacts, customers: int) -> nn.Module:
        """Return the configured model over the assortment."""
        products = len(facts.products)
        if isinstance(self.settings, FactorizationSettings):
            return Factorization(self.settings, facts.levels, products, customers)
        if isinstance(self.settings, HierarchicalSettings):
            return HierarchicalFactorization(self.settings, facts.levels, products, customers)
        assert isinstance(self.settings, NcfSettings)
        return NcfRanker(self.settings, facts.levels, products, customers)

    def item_rows(self, model: nn.Module, facts: RankingFacts) -> ItemRows | None:
        """See `Task.item_rows`; a product that is new starts from its kind, else its category."""
        own = frozenset(("customers.weight",)) if isinstance(model, PurchaseModel) else frozenset()
        if not isinstance(model, HasItemAxes):
            return None
        families = tuple(codes.numpy() for codes in facts.levels)
        return ItemRows(facts.products, families, model.item_axes(), own)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of each customer, float [B]."""
        return _ranker(model).losses(*batch)

    def evaluate(
        self, model: nn.Module, member: RankingMember, split: Split
    ) -> dict[str, MetricSums]:
        """Rank the held-out purchases, by retailer."""
        return {
            name: ranking_tally(partial(self.scores, model, splits[split]), splits[split].ranking)
            for name, splits in member.cases.items()
        }

    def judged(self, model: nn.Module, member: RankingMember) -> Judged:
        """See `Task.judged`; by department of the held-out purchases, but for a blend."""
        if not isinstance(model, PurchaseModel):
            return super().judged(model, member)
        cases = member.cases[member.name]["validation"]
        listed, gains = listed_and_gained(partial(self.scores, model, cases), cases.ranking)
        department = model.products.codes[0][cases.ranking.positive]
        return Judged.by_department(gains.numpy(), department.numpy(), listed.numpy())

    def unit_scores(self, model: nn.Module, member: RankingMember, split: Split) -> UnitSums:
        """See `Task.unit_scores`; each customer has one held-out purchase."""
        cases = member.cases[member.name][split]
        return ranking_units(partial(self.separate_scores, model, cases), cases.ranking)

    def separate_scores(self, model: nn.Module, cases: Cases, index: Tensor) -> Tensor:
        """Return scores from the shared model and each customer's own purchases, float [B, I]."""
        return self.scores(model, cases, index)

    def scores(self, model: nn.Module, cases: Cases, index: Tensor) -> Tensor:
        """Return the scores of all products for the cases at `index` (int64 [B]), float [B, I]."""
        items, present = cases.known.padded(index)
        prior = cases.prior.expand(len(index), -1)
        return _ranker(model).scores(cases.customers[index], items, present, prior)

    def blend_weights(self, model: nn.Module, member: RankingMember) -> dict[str, Tensor]:
        """Return the weights of what is served, float64 [P], by group of the member's cases.

        They are selected on validation. A task that blends nothing has none.
        """
        del model, member
        return {}

    def blended(self, model: nn.Module, blend: Blend) -> CaseScores:
        """Return what is served: from cases and positions to all products' scores, [B, I]."""
        del blend
        return partial(self.scores, model)

    def inner_product(
        self, model: nn.Module, known: Histories, rows: Tensor
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return customers, products and what all customers have in common; None without such.

        A score is the inner product of vectors [B, d] and [I, d], plus the common part, [I].

        Args:
            model: The model.
            known: Histories of B customers.
            rows: Their rows in the model, int64 [B].
        """
        if not isinstance(model, Factorization):
            return None
        vectors, every = model.products(), torch.arange(len(rows))
        customers = model.customer_vectors(vectors, rows, *known.padded(every))
        return customers, vectors, model.bias

    def merged(self, groups: dict[str, MetricSums]) -> dict[str, MetricSums]:
        """Return the metrics by retailer, from those of groups of its cases."""
        return groups

    def known(self, lines: Purchases, facts: RankingFacts) -> Purchases:
        """Return the lines that are part of a customer's history."""
        del facts
        return lines

    def rankable(self, facts: RankingFacts) -> Tensor:
        """Return the products that may be in a list, bool [I]."""
        return torch.ones(len(facts.products), dtype=torch.bool)

    def parts(self, model: nn.Module, cases: Cases, index: Tensor) -> Tensor:
        """Return the scores as components to be weighted, float [B, I, P]; here one."""
        return self.scores(model, cases, index)[:, :, None]

    def baseline(self, member: RankingMember, split: Split) -> dict[str, MetricSums]:
        """Rank for every customer by the retailer's popularity."""
        return {
            name: ranking_tally(partial(same_for_all, own[split].popularity), own[split].ranking)
            for name, own in member.cases.items()
        }

    @property
    def noised_baseline_name(self) -> str | None:
        """Popularity, noised so that customers are protected; there is none for another unit."""
        return "popularity_private" if self.config.privacy.unit == "customer" else None

    def noised_baseline(self, member: RankingMember, split: Split) -> dict[str, MetricSums]:
        """Rank for every customer by one private release of the retailer's popularity."""
        # Opacus takes seconds to import, and a run without a budget does not need it.
        from securefl.tasks.recommendation.dp_popularity import noised_popularity

        products = member.cases[member.name][split].prior.shape[0]
        found = noised_popularity(
            member.name, member.examples.histories, products, self.config.privacy
        )
        scores = partial(same_for_all, found)
        return {member.name: ranking_tally(scores, member.cases[member.name][split].ranking)}


def _codes(names: pd.Series) -> Tensor:
    """Return names as codes, int64 [I], in alphabetic order; unknown is a code of its own."""
    codes = np.unique(names.fillna("").to_numpy(str), return_inverse=True)[1]
    return torch.from_numpy(codes.astype(np.int64))


def _ranker(model: nn.Module) -> PurchaseModel:
    if not isinstance(model, PurchaseModel):
        raise TypeError(f"{type(model).__name__} does not rank purchases")
    return model
