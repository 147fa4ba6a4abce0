"""For whom it pays to join a federation under a budget: a retailer with few customers.

As in `newcomer.py`, the newcomer takes what the others released and trains nothing with them; here
the others release factors of products under a budget (`profile`, one noise, which shares of noise
under masks come to where nobody drops out or colludes; unit customer, delta 1e-6). Alone is the
whole blend on the newcomer's own customers; served weighs its scores, the list and the taste on its
own validation purchases. Standard errors are over held-out purchases, those of gains paired.

`python benchmarks/newcomer_budgets.py [--quick]`; `real` runs on the Complete Journey alone.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from factor_sums import learned
from harness import Row, main
from newcomer import WITHOUT_GRU, Consortium, joined, sized, trained, with_error
from retailer_data import Drawn, drawn
from securefl.config.load import load_config, merge
from securefl.data.tables import RetailData
from securefl.ml.metrics.ranking import CUTOFF
from securefl.ml.metrics.score_blending import blend_weights, chosen_weights
from securefl.privacy.accounting.calibration import Budget
from securefl.tasks.common.histories import Histories
from securefl.tasks.common.ranking_examples import Cases
from securefl.tasks.recommendation.blend import BlendMember, BlendTask
from securefl.tasks.recommendation.models.factors import FactorRanker
from securefl.tasks.recommendation.task import RankingFacts
from securefl.tasks.registry import create_task

EPSILONS = (1.0, 2.0, 4.0, 8.0, math.inf)
OWN = (50, 100, 200, 500, 1_000, 2_000, 5_000)
FEDERATIONS = ((5, 10_000), (20, 10_000), (5, 25_000), (20, 100_000))
"""Retailers, and their customers in all."""
CASES = 2_500
GROUPS = 20
STEPS = 4
DELTA = 1e-6
SEED = 0


@dataclass(frozen=True)
class Scored:
    """Scores of candidates: the held-out product first, and its competitors.

    Attributes:
        alone: By the newcomer's blend, float [n, 100].
        valid: Which of them are products, bool [n, 100].
        cases: The cases.
        candidates: The products, int64 [n, 100].
    """

    alone: Tensor
    valid: Tensor
    cases: Cases
    candidates: Tensor


Newcomer = Mapping[str, Scored]
"""By split."""


def newcomers(consortium: Consortium, size: int, most: int) -> list[Newcomer]:
    """Newcomers of one size, each with what it can do alone."""
    total = consortium.whole.customers
    order = torch.randperm(total, generator=torch.Generator().manual_seed(0))
    count = max(min(GROUPS, total // size, most // size), 1)
    groups = (order[k * size : (k + 1) * size] for k in range(count))
    return [alone(consortium, consortium.group(rows)) for rows in groups]


def alone(consortium: Consortium, member: BlendMember) -> Newcomer:
    """All that one newcomer can do by itself, on its cases."""
    task, config = consortium.task, sized(consortium.config, member.customers)
    own = trained(config, task, consortium.facts, [member])[0].eval()
    parts, cases = joined(task.shared_parts(own), member.local.parts), member.cases[member.name]
    with torch.no_grad():
        found = partial(parts, cases["validation"])
        weights = chosen_weights(found, cases["validation"].ranking).float()
        return {split: _scored(parts, weights, cases[split]) for split in ("validation", "test")}


def _scored(parts, weights: Tensor, cases: Cases) -> Scored:
    ranking = cases.ranking
    candidates = torch.cat([ranking.positive[:, None], ranking.negatives], dim=1)
    chosen, found = candidates.clamp(min=0), []
    for index in torch.split(torch.arange(len(chosen)), 256):
        found.append((parts(cases, index) @ weights).gather(1, chosen[index]))
    return Scored(torch.cat(found), candidates >= 0, cases, chosen)


@torch.no_grad()
def measured(every: Sequence[Newcomer], model: FactorRanker) -> dict[str, float]:
    """What is served alone, what is released, and both, over all newcomers of a size."""
    hits: dict[str, list[Tensor]] = {"alone": [], "released": [], "served": []}
    for one in every:
        parts = {split: _parts(model, scored) for split, scored in one.items()}
        for arm, chosen in (("alone", [0]), ("released", [1, 2]), ("served", [0, 1, 2])):
            weights = torch.ones(len(chosen), dtype=torch.float64)
            if arm == "served":
                weights = blend_weights(parts["validation"], one["validation"].valid)
            scores = parts["test"][:, :, chosen].double() @ weights
            ahead = (scores[:, 1:] >= scores[:, :1]) & one["test"].valid[:, 1:]
            hits[arm].append(ahead.sum(dim=1) < CUTOFF)
    found = {arm: torch.cat(one).double() for arm, one in hits.items()}
    shown: dict[str, float] = {"cases": len(found["alone"])}
    for arm, values in found.items():
        shown |= with_error(f"{arm} hr@10", values)
    return shown | with_error("served - alone", found["served"] - found["alone"])


def _parts(model: FactorRanker, scored: Scored) -> Tensor:
    """Alone, list and taste, float [n, 100, 3]."""
    found = []
    for index in torch.split(torch.arange(len(scored.candidates)), 256):
        taste = model.taste(*scored.cases.known.padded(index))
        both = torch.stack((model.common(len(index)), taste), dim=2)
        place = scored.candidates[index][:, :, None].expand(-1, -1, 2)
        found.append(torch.cat([scored.alone[index][:, :, None], both.gather(1, place)], dim=2))
    return torch.cat(found)


# -- who joins whom --------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """A newcomer's consortium, and the histories of the others."""

    consortium: Consortium
    others: Sequence[Histories]

    @classmethod
    def of(cls, data: RetailData, newcomer: int, changes: dict) -> World:
        config = load_config(None, merge({"task": "recommendation"}, changes))
        task = create_task(config)
        assert isinstance(task, BlendTask)
        facts = task.agree(data)
        found, late = [], data.members[newcomer]
        for place, tables in enumerate(data.members):
            if place != newcomer:
                found.append(_private(config.seed).prepare(tables, facts).examples.histories)
        whole = task.prepare(late, facts)
        assert isinstance(whole, BlendMember)
        kept = Consortium(config, task, facts, late, whole, nn.Module(), 0, 0.0)
        return cls(kept, found)

    def model(self, retailers: int, customers: int, epsilon: float) -> FactorRanker:
        """What so many retailers with so many customers in all release."""
        each = customers // retailers
        rows = [torch.arange(min(each, len(one))) for one in self.others[:retailers]]
        every = [one.at(at) for one, at in zip(self.others, rows, strict=False)]
        torch.manual_seed(SEED)
        budget = None if math.isinf(epsilon) else Budget(epsilon, DELTA)
        return learned(empty(self.consortium.facts), every, budget, STEPS)


def _private(seed: int):
    """The task of factors under a budget, which cuts histories as a private run does."""
    changes = {"seed": seed, "model": {"name": "profile", "learns": "products"}}
    return create_task(load_config(None, changes | {"privacy": {"dp": "local", "epsilon": 1.0}}))


def empty(facts: RankingFacts) -> FactorRanker:
    """A model before its first step."""
    found = _private(0).model(facts, 0)
    assert isinstance(found, FactorRanker)
    return found.eval()


def rows_of(label: str, models: Mapping[str, FactorRanker], every, size: int) -> Iterator[Row]:
    for epsilon, model in models.items():
        row = {"newcomers": len(every)} | measured(every, model)
        print(f"{label}, epsilon {epsilon}, {size} own: {row}", file=sys.stderr, flush=True)
        yield Row(f"{label}, epsilon {epsilon}, {size:,} own customers", row)


def table(world: World, federations, sizes: Sequence[int], most: int) -> Iterator[Row]:
    """Models first, so that each newcomer is trained once for all of them."""
    models = {}
    for retailers, customers in federations:
        started = time.process_time()
        label = f"{retailers} retailers, {customers:,} customers in all"
        models[label] = {f"{e:g}": world.model(retailers, customers, e) for e in EPSILONS}
        spent = round((time.process_time() - started) / len(EPSILONS), 1)
        print(f"{label}: {spent} CPU seconds a model", file=sys.stderr, flush=True)
    for size in sizes:
        started = time.process_time()
        every = newcomers(world.consortium, size, most)
        spent = round(time.process_time() - started, 1)
        print(f"{size} own: {spent} CPU seconds alone", file=sys.stderr, flush=True)
        for label, found in models.items():
            yield from rows_of(label, found, every, size)


def benchmark(quick: bool) -> list[Row]:
    if quick:
        data = drawn(Drawn(products=600, customers=(300, 300, 200), weeks=26))
        return [*table(World.of(data, 2, WITHOUT_GRU), ((2, 600),), (50, 100), 200)]
    retailers, customers = FEDERATIONS[-1]
    each = (customers // retailers,) * retailers
    data = drawn(Drawn(products=2_500, customers=(*each, OWN[-1]), weeks=26))
    world = World.of(data, retailers, WITHOUT_GRU)
    del data
    return [*table(world, FEDERATIONS, OWN, CASES)]


if __name__ == "__main__":
    main(__doc__.splitlines()[0], benchmark)
