"""Ranking tasks with cases of new products beside the usual ones.

New products are ranked among themselves: which of what came in today is shown to her? The obvious
rule has no sales to go by, and takes the mean sales of the known products of the same kind.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Final

from torch import Tensor, nn

from securefl.data.tables import RetailerTables
from securefl.ml.metrics.spec import MetricSpec, Split
from securefl.ml.metrics.sums import MetricSums, Ratio
from securefl.tasks.common.cold_start_split import cold_start_cases, cold_start_products
from securefl.tasks.common.ranking_examples import RetailerCases
from securefl.tasks.common.settings import NewProductSettings
from securefl.tasks.common.splits import Purchases
from securefl.tasks.content.settings import RANKED_COLD, cold_metric
from securefl.tasks.recommendation.task import RankingFacts, RankingMember, RecommendationTask

_COLD: Final = ", new products"
_KIND: Final = 2


class NewProductTask(RecommendationTask):
    """Holds some products out of training altogether, and ranks them as well."""

    split: NewProductSettings
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        *RecommendationTask.metrics,
        *(MetricSpec(cold_metric(name), higher_is_better=True) for name in RANKED_COLD),
    )

    def new_products(self, facts: RankingFacts) -> Tensor:
        """Which products count as new, bool [I]."""
        return cold_start_products(facts.products, self.split.cold)

    def purchases(self, tables: RetailerTables, facts: RankingFacts) -> Purchases:
        """The lines of known products."""
        lines = super().purchases(tables, facts)
        return lines.at(~self.new_products(facts).numpy()[lines.item])

    def member(
        self, tables: RetailerTables, cut: RetailerCases, facts: RankingFacts
    ) -> RankingMember:
        """See `RecommendationTask.member`; the cases of new products are a group beside it."""
        plain, cold = super().member(tables, cut, facts), self.new_products(facts)
        lines = super().purchases(tables, facts)
        new = lines.at(cold.numpy()[lines.item])
        cases = cold_start_cases(cut, new, cold, facts.levels[_KIND])
        return replace(plain, cases={**plain.cases, tables.name + _COLD: cases})

    def evaluate(
        self, model: nn.Module, member: RankingMember, split: Split
    ) -> dict[str, MetricSums]:
        """See `RecommendationTask.evaluate`."""
        return _joined(super().evaluate(model, member, split))

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
        """Known products by own popularity, new ones by that of their kind."""
        return _joined(super().baseline(member, split))

    @property
    def noised_baseline_name(self) -> str | None:
        """None: a noised list says nothing of new products."""
        return None


def _joined(groups: dict[str, MetricSums]) -> dict[str, MetricSums]:
    """Each retailer's tally with that of its new products in metrics of their own."""
    return {
        name: MetricSums({**tally.ratios, **_of_new(groups[name + _COLD])})
        for name, tally in groups.items()
        if not name.endswith(_COLD)
    }


def _of_new(tally: MetricSums) -> dict[str, Ratio]:
    return {cold_metric(name): tally.ratios[name] for name in RANKED_COLD}
