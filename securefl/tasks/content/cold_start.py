"""Ranking tasks with cold-start cases of new products.

New products are ranked among themselves: which of today's new products should a customer see? The
baseline has no sales of them, and uses the mean sales of the known products of the same kind.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Final

from torch import Tensor, nn

from securefl.data.tables import RetailerTables
from securefl.ml.metrics.spec import MetricSpec, Split
from securefl.ml.metrics.sums import MetricSums, Ratio
from securefl.tasks.common.cold_start_split import cold_start_cases, cold_start_products
from securefl.tasks.common.purchase_lines import Purchases
from securefl.tasks.common.ranking_examples import RetailerCases
from securefl.tasks.common.settings import NewProductSettings
from securefl.tasks.content.settings import RANKED_COLD, cold_metric
from securefl.tasks.recommendation.task import (
    NEW_PRODUCTS,
    RankingFacts,
    RankingMember,
    RecommendationTask,
)

_KIND: Final = 2


class NewProductTask(RecommendationTask):
    """Holds some products out of training, and ranks them as well."""

    split: NewProductSettings
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        *RecommendationTask.metrics,
        *(MetricSpec(cold_metric(name), True, counted_as="new products") for name in RANKED_COLD),
    )

    def new_products(self, facts: RankingFacts) -> Tensor:
        """Return which products count as new, bool [I]."""
        return cold_start_products(facts.products, self.split.cold)

    def purchases(self, tables: RetailerTables, facts: RankingFacts) -> Purchases:
        """Return the lines of known products."""
        return self.known(super().purchases(tables, facts), facts)

    def known(self, lines: Purchases, facts: RankingFacts) -> Purchases:
        """See `RecommendationTask.known`: new products are in no history."""
        return lines.at(~self.new_products(facts).numpy()[lines.item])

    def member(
        self, tables: RetailerTables, cut: RetailerCases, facts: RankingFacts
    ) -> RankingMember:
        """See `RecommendationTask.member`; the cases of new products are a group of their own."""
        plain, cold = super().member(tables, cut, facts), self.new_products(facts)
        lines = super().purchases(tables, facts)
        new = lines.at(cold.numpy()[lines.item])
        cases = cold_start_cases(cut, new, cold, facts.levels[_KIND])
        return replace(plain, cases={**plain.cases, tables.name + NEW_PRODUCTS: cases})

    def evaluate(
        self, model: nn.Module, member: RankingMember, split: Split
    ) -> dict[str, MetricSums]:
        """See `RecommendationTask.evaluate`."""
        return self.merged(super().evaluate(model, member, split))

    def merged(self, groups: dict[str, MetricSums]) -> dict[str, MetricSums]:
        """See `RecommendationTask.merged`: new products have metrics of their own names."""
        return _joined(groups)

    def evaluate_shared(
        self, model: nn.Module, member: RankingMember, split: Split
    ) -> dict[str, MetricSums]:
        """See `Task.evaluate_shared`."""
        return _joined(super().evaluate_shared(model, member, split))

    def evaluate_local(self, member: RankingMember, split: Split) -> dict[str, MetricSums] | None:
        """See `Task.evaluate_local`."""
        found = super().evaluate_local(member, split)
        return None if found is None else _joined(found)

    def baseline(self, member: RankingMember, split: Split) -> dict[str, MetricSums]:
        """Rank known products by own popularity, new ones by the popularity of their kind."""
        return _joined(super().baseline(member, split))

    @property
    def noised_baseline_name(self) -> str | None:
        """None: a private popularity list has no sales of new products."""
        return None


def _joined(groups: dict[str, MetricSums]) -> dict[str, MetricSums]:
    """Merge each retailer's metrics with those of its new products, under names of their own."""
    return {
        name: MetricSums({**sums.ratios, **_of_new(groups[name + NEW_PRODUCTS])})
        for name, sums in groups.items()
        if not name.endswith(NEW_PRODUCTS)
    }


def _of_new(sums: MetricSums) -> dict[str, Ratio]:
    return {cold_metric(name): sums.ratios[name] for name in RANKED_COLD}
