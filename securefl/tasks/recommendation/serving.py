"""Lists of products for a member's customers, from what it serves after a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Final, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from securefl.data.tables import RetailerTables
from securefl.errors import InputError
from securefl.ml.metrics.ranking import ranking_tally
from securefl.ml.metrics.spec import Split
from securefl.ml.metrics.sums import MetricSums
from securefl.tasks.base import AnyTask
from securefl.tasks.common.held_out import HeldOut, HeldOutLists
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.purchase_lines import Purchases
from securefl.tasks.common.ranking_examples import Cases, histories, purchases_of
from securefl.tasks.common.serving import (
    Graph,
    Ints,
    OwnPart,
    Request,
    ServedModel,
    Vectors,
    Verb,
    before,
    parts_of_cases,
)
from securefl.tasks.common.splits import histories_of
from securefl.tasks.recommendation.customer_rows import CustomerRows
from securefl.tasks.recommendation.lists import (
    CHUNK,
    SHOWN,
    Asked,
    Group,
    KnownPurchases,
    Lists,
    RankingNetwork,
    list_length,
    listed_customers,
    spread,
)
from securefl.tasks.recommendation.personalization import LocalScores, PersonalizedTask
from securefl.tasks.recommendation.task import (
    NEW_PRODUCTS,
    Blend,
    CaseScores,
    RankingFacts,
    RankingMember,
    RecommendationTask,
)

_YIELDED: Final = 4
"""Chunks of a table that is yielded."""


@dataclass(frozen=True)
class MemberRanking:
    """What a member has of its own.

    Attributes:
        rows: The customers of the model's rows.
        groups: Its groups of cases, the known products first.
        scores: Its local scores; None without any.
    """

    rows: CustomerRows
    groups: tuple[Group, ...]
    scores: LocalScores | None


class ServedRanking(ServedModel):
    """Ranks a member's products for its customers, known ones and strangers.

    Args:
        task: The task.
        facts: What the members agreed on.
        model: The model; an opened one has a row of zeros after those of the customers.
        own: What the member has of its own.
    """

    verb: ClassVar[Verb] = "recommend"
    options: ClassVar[frozenset[str]] = frozenset(
        {"as_of", "customers", "k", "candidates", "keep_bought", "new_products"}
    )
    use: ClassVar[str] = (
        "Lists of products that a customer of this retailer may want next, to be shown to people."
    )
    limits: ClassVar[tuple[str, ...]] = (
        "It knows the products of the agreed catalogue that enough customers had bought, alone.",
        "Scores order the products of one customer; they are no probabilities.",
        "A customer who was not in the run is served from their purchases alone.",
    )
    task: RecommendationTask
    facts: RankingFacts

    def __init__(
        self, task: AnyTask, facts: RankingFacts, model: nn.Module, own: MemberRanking
    ) -> None:
        super().__init__(task, facts, model)
        self.own = own

    @classmethod
    def of_member(cls, problem: LocalProblem, model: nn.Module) -> Self:
        """See `ServedModel`; the weights of blends are those of the closing evaluation."""
        task, member = problem.task, problem.data
        assert isinstance(task, RecommendationTask)
        assert isinstance(member, RankingMember)
        weights = task.blend_weights(model, member)
        groups = tuple(
            Group(name, test.prior, test.popularity, test.ranking.sold, weights.get(name))
            for name, test in ((name, splits["test"]) for name, splits in member.cases.items())
        )
        scores = task.local_scores(member) if isinstance(task, PersonalizedTask) else None
        own = MemberRanking(CustomerRows.of(member.ids), groups, scores)
        return cls(task, problem.facts, model, own)

    @classmethod
    def opened(cls, task: AnyTask, facts: Any, model: nn.Module, own: OwnPart) -> Self:  # noqa: ANN401
        """See `ServedModel`."""
        assert isinstance(task, RecommendationTask)
        names = [str(name) for name in own.settings["groups"]]
        groups = tuple(
            Group.of(name, _below(own.tensors, f"group/{place}"), len(facts.products))
            for place, name in enumerate(names)
        )
        rows = CustomerRows(own.key, own.tensors["customers"])
        local = None
        if isinstance(task, PersonalizedTask):
            chosen = {n: own.tensors[f"group/{place}/own"] for place, n in enumerate(names)}
            untrained = task.untrained(facts, len(rows) + 1)
            local = untrained.filled(_below(own.tensors, "own"), chosen)
        return cls(task, facts, model, MemberRanking(rows, groups, local))

    def own_part(self) -> OwnPart:
        """See `ServedModel`."""
        own, scores = self.own, self.own.scores
        tensors = {"customers": own.rows.hashes}
        for place, group in enumerate(own.groups):
            tensors |= {f"group/{place}/{k}": v for k, v in group.tensors().items()}
            if scores is not None:
                tensors[f"group/{place}/own"] = scores.weights[group.name]
        if scores is not None:
            tensors |= {f"own/{name}": value for name, value in scores.tensors().items()}
        return OwnPart(tensors, {"groups": [group.name for group in own.groups]}, own.rows.key)

    def evaluate(self, member: Any, split: Split) -> dict[str, MetricSums]:  # noqa: ANN401
        """See `ServedModel`."""
        assert isinstance(member, RankingMember)
        found = {}
        for group in self.own.groups:
            cases = self._with_own_rows(member.cases[group.name][split], member.ids)
            found[group.name] = ranking_tally(partial(self._scores(group), cases), cases.ranking)
        return self.task.merged(found)

    def parts(self, member: Any, count: int) -> Sequence[RankingMember]:  # noqa: ANN401
        """See `ServedModel`; by customer."""
        assert isinstance(member, RankingMember)
        return parts_of_cases(member, count, lambda cases: cases.customers)

    @torch.no_grad()
    def held_out(self, member: Any, tables: RetailerTables) -> HeldOut | None:  # noqa: ANN401
        """See `ServedModel`; of the known products, ranked as the closing table ranks all."""
        del tables
        assert isinstance(member, RankingMember)
        group = self.own.groups[0]
        cases = self._with_own_rows(member.cases[group.name]["test"], member.ids)
        index = spread(len(cases.customers), SHOWN)
        if not len(index):
            return None
        scores = self._scores(group)(cases, index)
        listed = listed_customers(cases, index, scores, self.facts.products)
        return HeldOutLists(listed, len(cases.customers))

    def predict(self, tables: RetailerTables, request: Request) -> Iterator[pd.DataFrame]:
        """Yield `customer`, `rank`, `product`, `score` and `basis`, see `ServedModel`.

        `basis` is `known` for a customer of the run, `history` for another one with purchases of
        the model's products, and `popular` for one without: then the list is the most popular
        products, with the share of customers who bought them as the score.
        """
        group = self._group(new=bool(request.new_products))
        purchases = self._purchases(tables, request.as_of)
        wanted = self._candidates(group, purchases.sold, request)
        k = list_length(request.k, int(wanted.sum()))
        ids = purchases.customers if request.customers is None else request.customers
        if not len(ids):
            raise InputError("the data have no purchase of a known customer and product")
        asked = Asked(group, self._scores(group), self.own.rows, self.facts.products, wanted, k)
        lists = Lists(asked, purchases, keep_bought=bool(request.keep_bought))
        for first in range(0, len(ids), CHUNK * _YIELDED):
            yield lists.of(ids[first : first + CHUNK * _YIELDED])

    def _purchases(self, tables: RetailerTables, as_of: np.datetime64 | None) -> KnownPurchases:
        """Return what customers bought; of all the data it is laid out once."""

        def laid_out() -> KnownPurchases:
            lines = purchases_of(before(tables.transactions, as_of), self.facts.products)
            known = self.task.known(lines, self.facts)
            return KnownPurchases.of(lines, known, len(self.facts.products))

        return tables.once(self, laid_out) if as_of is None else laid_out()

    def graph(self) -> Graph:
        """See `ServedModel`; scores of the known products for one customer at a time."""
        group, customers = self.own.groups[0], len(self.own.rows)
        products = len(self.facts.products)

        def example(seed: int) -> tuple[Tensor, ...]:
            random = torch.Generator().manual_seed(seed)
            length = int(torch.randint(1, 30, (), generator=random))
            basket = torch.arange(length)[None]
            bought = torch.randint(0, products, (1, length), generator=random)
            present = (torch.rand(1, length, generator=random) < 0.7).float()
            return torch.randint(0, customers + 1, (1,), generator=random), bought, present, basket

        return Graph(
            network=RankingNetwork(self.model, self._scores(group), group, self.own.scores),
            inputs={
                "customer": "row of the customer, int64 [1]; the last one is a stranger's",
                "items": "rows of the products that they bought, int64 [1, K]",
                "present": "1 for a purchase, 0 for padding, float32 [1, K]",
                "baskets": "in which basket each was bought first, from 0, int64 [1, K]",
            },
            output="scores",
            free={name: {1: "purchases"} for name in ("items", "present", "baskets")},
            example=example,
            rows={"products": self.facts.products},
        )

    @torch.no_grad()
    def vectors(self, tables: RetailerTables) -> Vectors | None:
        """See `ServedModel`; the last number of a vector is what all customers have in common."""
        if self.own.scores is not None or self.own.groups[0].weights is not None:
            return None
        lines = purchases_of(tables.transactions, self.facts.products)
        ids, pairs = histories_of(self.task.known(lines, self.facts))
        known = histories(pairs)
        rows = torch.from_numpy(self.own.rows.of_customers(ids))
        parts = [
            self.task.inner_product(self.model, known.at(at), rows[at])
            for at in torch.split(torch.arange(len(ids)), CHUNK)
        ]
        if not parts or any(part is None for part in parts):
            return None
        customers = torch.cat([part[0] for part in parts if part is not None])
        assert parts[0] is not None
        _, vectors, common = parts[0]
        common = common + self.own.groups[0].prior
        return Vectors(
            self.facts.products,
            torch.cat([vectors, common[:, None]], dim=1).numpy(),
            ids,
            torch.cat([customers, torch.ones(len(customers), 1)], dim=1).numpy(),
        )

    def _with_own_rows(self, cases: Cases, ids: Ints) -> Cases:
        rows = self.own.rows.of_customers(ids)[cases.customers.numpy()]
        return replace(cases, customers=torch.from_numpy(rows))

    def _scores(self, group: Group) -> CaseScores:
        return self.task.blended(self.model, Blend(group.name, group.weights, self.own.scores))

    def _group(self, *, new: bool) -> Group:
        for group in self.own.groups:
            if group.name.endswith(NEW_PRODUCTS) == new:
                return group
        raise InputError("new products: this model has none of its own")

    def _candidates(self, group: Group, sold: Tensor, request: Request) -> Tensor:
        """Return the products that may be listed, bool [I]."""
        count, rankable = len(self.facts.products), self.task.rankable(self.facts)
        every = np.arange(count)
        nothing = Purchases(every, every, every, every)
        warm = torch.zeros(count, dtype=torch.bool)
        warm[torch.from_numpy(self.task.known(nothing, self.facts).item)] = True
        if request.new_products:
            possible = allowed = rankable & ~warm
        else:
            possible = rankable & warm
            allowed = (group.sold | sold) & possible
        if request.candidates is not None:
            chosen = torch.from_numpy(np.isin(self.facts.products, request.candidates))
            allowed = chosen & possible
        if not allowed.any():
            raise InputError("no product is left that this model may list")
        return allowed


def _below(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the tensors below a name, without it."""
    start = f"{name}/"
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
