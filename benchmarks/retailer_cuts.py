"""A retailer with a part of its data, task by task: what it has left, and its held-out cases.

Whatever is cut, the held-out cases are those of the whole retailer, so that all cuts of it answer
the same questions, and none of them is trained on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from churn_by_size import fitted_alone
from securefl.config.schema import RunConfig
from securefl.data.tables import RetailData, RetailerTables
from securefl.federation.runs.prepare import Prepared
from securefl.ml.batches import TensorExamples, all_units
from securefl.ml.metrics.ranking import METRICS, gains
from securefl.ml.metrics.sums import Ratio
from securefl.tasks.base import MemberData
from securefl.tasks.common.ranking_examples import (
    Cases,
    RetailerCases,
    customer_parts,
    histories,
)
from securefl.tasks.demand.task import DemandMember
from securefl.tasks.demand.windows import ForecastExamples
from securefl.tasks.pricing.examples import PricedSales, priced_sales
from securefl.tasks.pricing.facts import PricingFacts
from securefl.tasks.pricing.price_list import Lines, PriceList
from securefl.tasks.pricing.task import PricingMember, PricingTask
from securefl.tasks.recommendation.task import (
    NEW_PRODUCTS,
    Blend,
    CaseScores,
    RankingMember,
)

SHORTEST: Final = 12
"""Weeks of the shortest history; a case counts if this history says something of it."""
_WEEK: Final = 7 * 86_400 * 10**9
_LEAST: Final = 1e-9
Judged = dict[str, Tensor]
"""Metric to each held-out case's part of it and of its denominator, float64 [N, 2]."""


@dataclass(frozen=True)
class Left:
    """What is left of a retailer; None leaves all.

    Attributes:
        units: Number of its customers, or of its series.
        weeks: Length of its history, in weeks.
    """

    units: int | None = None
    weeks: int | None = None


class Cuts(ABC):
    """One retailer of a run, whole or with a part of its data.

    Args:
        prepared: The run.
        data: Its tables.
        place: The retailer among the members.
    """

    unit: ClassVar[str] = "customers"
    higher: ClassVar[bool] = False
    """Whether more of a metric is better."""
    parted: ClassVar[bool] = False
    """Whether draws are parts of the held-out cases; else each draw is judged by all of them."""

    def __init__(self, prepared: Prepared, data: RetailData, place: int) -> None:
        self.prepared, self.facts = prepared, prepared.facts
        self.task: Any = prepared.task
        self.tables, self.whole = data.members[place], prepared.members[place]
        self.name, self.place = self.whole.name, place

    def draws(self, left: Left, most: int) -> int:
        """In how many draws its customers or series are cut."""
        return 1 if left.units is None else most

    @abstractmethod
    def member(self, left: Left, draw: int) -> MemberData:
        """The retailer with what is left, and with the held-out cases of the whole one."""

    @abstractmethod
    def joined(self, model: nn.Module, member: Any) -> Judged:
        """The held-out cases as it serves them with the others' and its own model."""

    @abstractmethod
    def alone(self, config: RunConfig, member: Any) -> Judged:
        """The held-out cases as it serves them by itself."""

    def some(self, ids: npt.NDArray[np.int64], left: Left, draw: int) -> npt.NDArray[np.int64]:
        """The customers that are left."""
        drawn = np.random.default_rng([left.units or 0, draw, self.place]).permutation(ids)
        return np.sort(drawn[: left.units])

    def lines(self, customers: npt.NDArray[np.int64], since: int) -> RetailerTables:
        """The lines of some customers from a moment on, in ns since 1970."""
        lines = self.tables.transactions
        kept = lines["customer"].isin(customers) & (
            lines["time"].to_numpy().astype("datetime64[ns]").astype(np.int64) >= since
        )
        return RetailerTables(self.name, lines[kept])


class RankingCuts(Cuts):
    """Customers' next purchases. The model is judged by all customers, known from what is left."""

    higher: ClassVar[bool] = True

    def __init__(self, prepared: Prepared, data: RetailData, place: int) -> None:
        super().__init__(prepared, data, place)
        parts = (self.task.purchases(one, self.facts) for one in customer_parts(self.tables))
        products = len(self.facts.products)
        cut = RetailerCases(parts, products, self.facts.end, self.task.split).cut
        self.known = cut.known
        lately = cut.known.time >= self._since(SHORTEST)
        self.judged = np.bincount(cut.known.row[lately], minlength=len(cut.customers)) > 0
        others = [one.transactions["customer"] for one in data.members if one.name != self.name]
        self.elsewhere = np.isin(cut.customers, np.concatenate(others))

    def member(self, left: Left, draw: int) -> RankingMember:
        assert isinstance(self.whole, RankingMember)
        since = self._since(left.weeks)
        kept = self.lines(self.some(self.whole.ids, left, draw), since)
        few = self.task.prepare(kept, self.facts)
        assert isinstance(few, RankingMember)
        known = self.known.where(self.known.time >= since)
        cases = {}
        for group, splits in few.cases.items():
            test = self.whole.cases[group]["test"]
            test = test.at(torch.from_numpy(self.judged)[test.customers].nonzero()[:, 0])
            own = {"prior": splits["test"].prior, "popularity": splits["test"].popularity}
            test = replace(test, known=histories(known).at(test.customers), **own)
            cases[group] = {"validation": splits["validation"], "test": test}
        return replace(few, cases=cases)

    def joined(self, model: nn.Module, member: RankingMember) -> Judged:
        own, weights = self.task.local_scores(member), self.task.blend_weights(model, member)
        blended = partial(self.task.blended, model)
        return self._ranked(member, lambda group: blended(Blend(group, weights[group], own)))

    def alone(self, config: RunConfig, member: RankingMember) -> Judged:
        own = self.task.local_scores(member)
        return self._ranked(member, lambda group: partial(own.scores, group))

    def _since(self, weeks: int | None) -> int:
        return np.iinfo(np.int64).min if weeks is None else self.facts.end - weeks * _WEEK

    @torch.no_grad()
    def _ranked(self, member: RankingMember, scores: Callable[[str], CaseScores]) -> Judged:
        found: Judged = {}
        for group, splits in member.cases.items():
            case, said = splits["test"], NEW_PRODUCTS if group.endswith(NEW_PRODUCTS) else ""
            hit, gain = _hits(scores(group), case)
            found |= {f"hr@10{said}": hit, f"ndcg@10 expected{said}": gain}
            here = ~self.elsewhere[case.customers.numpy()]
            if here.any():
                found[f"ndcg@10 expected{said}, households of no other retailer"] = gain[here]
        return {
            name: torch.stack([one, torch.ones_like(one)], dim=1) for name, one in found.items()
        }


def _hits(scores: CaseScores, cases: Cases) -> tuple[Tensor, Tensor]:
    """HR@10 and expected NDCG@10 of each case, float64 [n] each."""
    every = torch.split(torch.arange(len(cases.customers)), 256)
    found = [torch.stack(gains(scores(cases, index), cases.ranking, index)) for index in every]
    by_name = dict(zip(METRICS, torch.cat(found, dim=1), strict=True))
    return by_name["hr@10"], by_name["ndcg@10_expected"]


class ForecastCuts(Cuts):
    """Series of a retailer, in groups that it has in turn; a group is judged by its own series."""

    unit: ClassVar[str] = "series"
    parted: ClassVar[bool] = True

    def __init__(self, prepared: Prepared, data: RetailData, place: int) -> None:
        super().__init__(prepared, data, place)
        shortest = self._prepared(SHORTEST).cases[self.name]["test"]
        assert isinstance(self.whole, DemandMember)
        both = [one.batch[1].numpy() for one in (shortest, self.whole.cases[self.name]["test"])]
        self.series = np.intersect1d(both[0], both[1])

    def draws(self, left: Left, most: int) -> int:
        return 1 if left.units is None else min(-(-len(self.series) // left.units), most)

    def member(self, left: Left, draw: int) -> DemandMember:
        """All series train, or those of a group; of the whole retailer some are not judged."""
        full, mixed = self._prepared(left.weeks), np.random.default_rng(0).permutation(self.series)
        judged = torch.from_numpy(self.series)
        if left.units is not None:
            groups = np.array_split(mixed, -(-len(mixed) // left.units))
            judged = torch.from_numpy(np.sort(groups[draw]))
        splits = full.cases[self.name]
        cases = {split: _of(case, judged) for split, case in splits.items()}
        units = all_units(full.examples)
        if left.units is not None:
            units = tuple(column[torch.isin(units[1], judged)] for column in units)
        return replace(
            full, examples=TensorExamples(units), samples=len(units[0]), cases={self.name: cases}
        )

    def joined(self, model: nn.Module, member: DemandMember) -> Judged:
        return self._judged(model, member)

    def alone(self, config: RunConfig, member: DemandMember) -> Judged:
        return self._judged(fitted_alone(self.prepared, config, member), member)

    def _prepared(self, weeks: int | None) -> DemandMember:
        """The retailer as if its records had begun so many weeks of training later."""
        cuts, steps = self.task.split, self.facts.steps
        if weeks is not None:
            held_out = cuts.validation_steps + cuts.test_steps
            steps = steps[-(self.task.cadence.warmup + weeks + held_out) :]
        found = self.task.prepare(self.tables, replace(self.facts, steps=steps))
        assert isinstance(found, DemandMember)
        return found

    @torch.no_grad()
    def _judged(self, model: nn.Module, member: DemandMember) -> Judged:
        """The metric's parts, a row a series: the errors of a series' weeks are alike."""
        case, found = member.cases[self.name]["test"], []
        deciding, forecast = self.task.metrics[0].name, self.task.forecast(model.eval(), case)
        for series in torch.unique(case.batch[1]):
            rows = (case.batch[1] == series).nonzero()[:, 0]
            found.append(self.task.scored(forecast[rows], case.at(rows)).ratios[deciding])
        return {deciding: _parts(found)}


def _of(cases: ForecastExamples, series: Tensor) -> ForecastExamples:
    return cases.at(torch.isin(cases.batch[1], series).nonzero()[:, 0])


def _parts(ratios: list[Ratio]) -> Tensor:
    """Numerators and denominators, float64 [N, 2]."""
    return torch.tensor([(one.numerator, one.denominator) for one in ratios]).double()


class PricingCuts(Cuts):
    """Customers whose purchases say what prices do; judged by all that the retailer sells.

    The price list is the whole retailer's in every cut: it hangs in the shop.
    """

    def member(self, left: Left, draw: int) -> PricingMember:
        assert isinstance(self.whole, PricingMember)
        weeks = self.facts.weeks.astype("datetime64[ns]").astype(np.int64)
        training = self._sold.splits["train"].stop
        since = 0 if left.weeks is None else int(weeks[training - left.weeks])
        early = self.tables.transactions["time"].to_numpy().astype("datetime64[ns]")
        bought = self.tables.transactions["customer"][early.astype(np.int64) < weeks[training]]
        ids = np.unique(bought[bought >= 0])
        task = _Listed(self.prepared.config, self.whole.prices[self.name])
        return task.prepare(self.lines(self.some(ids, left, draw), since), self.facts)

    def joined(self, model: nn.Module, member: PricingMember) -> Judged:
        return self._judged(*self.task.personalized(model, member), member)

    def alone(self, config: RunConfig, member: PricingMember) -> Judged:
        found = self.task.local_elasticities(member)
        return self._judged(found.value, found.error, member)

    @property
    def _sold(self) -> PricedSales:
        assert isinstance(self.whole, PricingMember)
        return self.whole.sales[self.name]

    def _judged(self, value: Any, error: Any, member: PricingMember) -> Judged:
        """Deviance by product, and the standard error of each category."""
        found, sold = [], self._sold
        columns = ("rows", "category", "relative", "units")
        for row in range(len(sold.rows)):
            one = replace(sold, **{name: getattr(sold, name)[[row]] for name in columns})
            found.append(one.scored(value, "test")["deviance"])
        errors = torch.from_numpy(error[member.present(self.name)])
        said = torch.stack([errors, torch.ones_like(errors)], dim=1)
        return {"deviance": _parts(found), "standard error": said}


class _Listed(PricingTask):
    """Pricing from some customers of a retailer whose price list is known."""

    def __init__(self, config: RunConfig, prices: PriceList) -> None:
        super().__init__(config)
        self._prices = prices

    def market(self, name: str, lines: Lines, facts: PricingFacts) -> tuple[PriceList, PricedSales]:
        """What these customers bought; by it the share of the shared model is chosen."""
        return self._prices, priced_sales(lines, self._prices, self._weeks(facts), _LEAST)


KINDS: Final[Mapping[str, type[Cuts]]] = {
    "recommendation": RankingCuts,
    "content": RankingCuts,
    "hybrid": RankingCuts,
    "demand": ForecastCuts,
    "inventory": ForecastCuts,
    "pricing": PricingCuts,
}
