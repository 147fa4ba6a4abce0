"""For whom it pays to join a federation under a budget: a retailer with few customers.

As in `newcomer.py`, the newcomer takes what the others released and trains nothing with them; here
the others release factors of products under a budget (`profile`, one noise, which shares of noise
under masks come to where nobody drops out or colludes; unit customer, delta 1e-6). Alone is the
whole blend on the newcomer's own customers; served weighs its scores, the list and the taste on its
own validation purchases. Standard errors are over held-out purchases, those of gains paired.

`python benchmarks/newcomer_budgets.py [--quick]`; `large` is a federation of 200,000
customers, `real` the Complete Journey.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from factor_sums import learned
from harness import Row, main
from newcomer import WITHOUT_GRU, Consortium, agreed, joined, sized, trained, with_error
from private_federation import train_privately
from retailer_data import Drawn, drawn
from securefl.config.load import load_config
from securefl.data.sources.registry import load
from securefl.data.tables import RetailData
from securefl.federation.runs.prepare import Prepared, prepare_data
from securefl.ml.metrics.ranking import CUTOFF
from securefl.ml.metrics.score_blending import blend_weights, chosen_weights
from securefl.ml.parameters import load_shared
from securefl.privacy.accounting.calibration import Budget
from securefl.tasks.common.histories import Histories
from securefl.tasks.common.ranking_examples import Cases
from securefl.tasks.recommendation.blend import BlendMember
from securefl.tasks.recommendation.models.factors import FactorRanker
from securefl.tasks.recommendation.task import RankingFacts
from securefl.tasks.registry import create_task

EPSILONS = (1.0, 2.0, 4.0, 8.0, math.inf)
OWN = (50, 100, 200, 500, 1_000, 2_000, 5_000)
FEDERATIONS = ((5, 10_000), (5, 25_000), (20, 100_000))
"""Retailers, and their customers in all."""
LARGE = ((20, 200_000),)
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


def newcomers(consortium: Consortium, size: int, most: int, seed: int = 0) -> list[Newcomer]:
    """Newcomers of one size, each with what it can do alone."""
    total = consortium.whole.customers
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
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
    chosen = candidates.clamp(min=0)
    every = torch.split(torch.arange(len(chosen)), 256)
    found = [(parts(cases, index) @ weights).gather(1, chosen[index]) for index in every]
    return Scored(torch.cat(found), candidates >= 0, cases, chosen)


def measured(every: Sequence[Newcomer], model: nn.Module) -> dict[str, float]:
    """What is served alone, what is released, and both, over all newcomers of a size."""
    hits = [hits_of(one, model) for one in every]
    found = {arm: torch.cat([one[arm] for one in hits]).double() for arm in hits[0]}
    shown: dict[str, float] = {"cases": len(found["alone"])}
    for arm, values in found.items():
        shown |= with_error(f"{arm} hr@10", values)
    return shown | with_error("served - alone", found["served"] - found["alone"])


@torch.no_grad()
def hits_of(one: Newcomer, model: nn.Module) -> dict[str, Tensor]:
    """Whether each held-out purchase of a newcomer was among the first ten, bool [n], by arm."""
    found = {}
    parts = {split: _parts(model, scored) for split, scored in one.items()}
    every = [*range(parts["test"].shape[2])]
    for arm, chosen in (("alone", [0]), ("released", every[1:]), ("served", every)):
        weights = torch.ones(len(chosen), dtype=torch.float64)
        if arm == "served":
            weights = blend_weights(parts["validation"].double(), one["validation"].valid)
        scores = parts["test"][:, :, chosen].double() @ weights
        ahead = (scores[:, 1:] >= scores[:, :1]) & one["test"].valid[:, 1:]
        found[arm] = ahead.sum(dim=1) < CUTOFF
    return found


def _parts(model: nn.Module, scored: Scored) -> Tensor:
    """Alone, and the parts of what is released, float [n, 100, 1 + P]."""
    found, task = [], _private(0)
    for index in torch.split(torch.arange(len(scored.candidates)), 256):
        shared = task.parts(model, scored.cases, index)
        place = scored.candidates[index][:, :, None].expand(-1, -1, shared.shape[2])
        found.append(torch.cat([scored.alone[index][:, :, None], shared.gather(1, place)], dim=2))
    return torch.cat(found)


# -- who joins whom --------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """A newcomer's consortium, and the histories of the others."""

    consortium: Consortium
    others: Sequence[Histories]

    @classmethod
    def of(cls, data: RetailData, newcomer: int, changes: dict) -> World:
        config, task, facts = agreed(data, changes)
        late, private = data.members[newcomer], _private(config.seed)
        others = [one for place, one in enumerate(data.members) if place != newcomer]
        found = [private.prepare(one, facts).examples.histories for one in others]
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


# -- the Complete Journey --------------------------------------------------------------------------


def real(partitions: int, seeds: int) -> Iterator[Row]:
    """The smallest retailer joins late; the others' few customers learn a map of categories.

    A customer is in one newcomer of each partition, and their hits are averaged over partitions and
    draws of the noise, so that standard errors are over customers.
    """
    data = load(load_config(None, {"task": "recommendation"}).data)
    lines = [len(member.transactions) for member in data.members]
    late = lines.index(min(lines))
    world = World.of(data, late, {})
    options = {"model": {"name": "profile"}, "privacy": {"dp": "local", "epsilon": 1.0}}
    prepared = prepare_data(load_config(None, options), data)
    others = tuple(one for place, one in enumerate(prepared.members) if place != late)
    prepared = replace(prepared, members=others)
    models = {}
    for epsilon, count in ((4.0, seeds), (math.inf, 1)):
        models[f"{epsilon:g}"] = [_released(prepared, epsilon) for _ in range(count)]
    total = world.consortium.whole.customers
    for size in (50, 100, total):
        every = [
            one
            for seed in range(partitions if size < total else 1)
            for one in newcomers(world.consortium, size, total, seed)
        ]
        for epsilon, drawn_models in models.items():
            row = {"newcomers": len(every)} | _by_customer(every, drawn_models)
            print(f"real, epsilon {epsilon}, {size} own: {row}", file=sys.stderr, flush=True)
            yield Row(f"Complete Journey, epsilon {epsilon}, {size} own customers", row)


def _released(prepared: Prepared, epsilon: float) -> nn.Module:
    model = prepared.task.model(prepared.facts, 0).eval()
    load_shared(model, train_privately(prepared, epsilon, one_noise=True).shared)
    return model


def _by_customer(every: Sequence[Newcomer], models: Sequence[nn.Module]) -> dict[str, float]:
    found: dict[str, dict[int, list[float]]] = {}
    for one in every:
        customers = one["test"].cases.ranking.positive, one["test"].cases.known
        keys = [
            hash((int(p), *customers[1].at(torch.tensor([i])).items.tolist()))
            for i, p in enumerate(customers[0])
        ]
        for model in models:
            for arm, values in hits_of(one, model).items():
                for key, value in zip(keys, values.tolist(), strict=True):
                    found.setdefault(arm, {}).setdefault(key, []).append(float(value))
    means = {
        arm: torch.tensor([sum(one) / len(one) for one in by.values()]).double()
        for arm, by in found.items()
    }
    shown: dict[str, float] = {"cases": len(means["alone"])}
    for arm, values in means.items():
        shown |= with_error(f"{arm} hr@10", values)
    return shown | with_error("served - alone", means["served"] - means["alone"])


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


def benchmark(
    quick: bool, federations: Sequence[tuple[int, int]] = FEDERATIONS, sizes: Sequence[int] = OWN
) -> list[Row]:
    if quick:
        data = drawn(Drawn(products=600, customers=(300, 300, 200), weeks=26))
        return [*table(World.of(data, 2, WITHOUT_GRU), ((2, 600),), (50, 100), 200)]
    retailers, customers = federations[-1]
    each = (customers // retailers,) * retailers
    data = drawn(Drawn(products=2_500, customers=(*each, OWN[-1]), weeks=26))
    world = World.of(data, retailers, WITHOUT_GRU)
    del data
    return [*table(world, federations, sizes, CASES)]


RUNS: Mapping[str, Callable[[bool], list[Row]]] = {
    "real": lambda quick: list(real(1, 1) if quick else real(2, 2)),
    "large": lambda quick: benchmark(quick, LARGE),
}

if __name__ == "__main__":
    chosen = [word for word in RUNS if word in sys.argv]
    for word in chosen:
        sys.argv.remove(word)
    main(__doc__.splitlines()[0], RUNS[chosen[0]] if chosen else benchmark)
