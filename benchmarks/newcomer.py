"""For whom it pays to join: a retailer with few customers, with and without a federation's model.

The newcomer joins late: it takes the model that other retailers trained together without it, trains
nothing with them, and blends what was released with all it can do alone, weights chosen on its own
validation purchases. Nothing is noised here. A newcomer's customers are drawn from one retailer in
disjoint groups, each of them a newcomer of its own; its products compete with all that the whole
retailer sells. Standard errors are over the held-out purchases of all groups, those of the gain
over paired differences.

`python benchmarks/newcomer.py [--quick]`: drawn purchases (`retailer_data.py`), and the Complete
Journey with its smallest retailer as the newcomer.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness import Row, main
from retailer_data import Drawn, drawn
from securefl.config.load import load_config, merge
from securefl.config.schema import RunConfig
from securefl.data.sources.registry import load
from securefl.data.tables import RetailData, RetailerTables
from securefl.ml.metrics.ranking import CUTOFF
from securefl.ml.metrics.score_blending import chosen_weights
from securefl.ml.parameters import named_shared, shared_vector
from securefl.tasks.base import MemberData
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.ranking_examples import Cases
from securefl.tasks.recommendation.blend import BlendMember, BlendTask
from securefl.tasks.recommendation.personalization import Parts, Splits
from securefl.tasks.recommendation.task import RankingFacts
from securefl.tasks.registry import create_task
from tuning_recommendation import rounds_of

Tree = dict[str, Any]
OWN = (50, 100, 200, 500, 1_000, 2_000, 5_000)
GROUPS = 20
"""At most so many newcomers of one size."""
CASES = 5_000
"""At most so many held-out purchases of all newcomers of one size."""
WATCHED = 1_000
"""Held-out purchases of each of the others, at most, by which their best round is chosen."""
WITHOUT_GRU: Tree = {"model": {"parts": {"gru": {"holder": "none"}}}}
"""A recurrent part takes most of the time, and drawn purchases have no order but their drift."""


@dataclass(frozen=True)
class Consortium:
    """What was agreed, and what the retailers but the newcomer trained together.

    Attributes:
        config: Settings; those of training are set by size.
        task: The task.
        facts: What is agreed.
        newcomer: Tables of the retailer whose customers join.
        whole: All of its customers, whose assortment the held-out products compete with.
        released: The model of the others.
        customers: The others' customers.
        seconds: CPU seconds of its training.
    """

    config: RunConfig
    task: BlendTask
    facts: RankingFacts
    newcomer: RetailerTables
    whole: BlendMember
    released: nn.Module
    customers: int
    seconds: float

    @classmethod
    def of(cls, data: RetailData, newcomer: int, tree: Tree) -> Consortium:
        """Train the model of all retailers but one."""
        config, task, facts = agreed(data, tree)
        tables = [*data.members]
        late = tables.pop(newcomer)
        members = [watched(task.prepare(one, facts)) for one in tables]
        customers = sum(member.customers for member in members)
        started = time.process_time()
        largest = max(member.customers for member in members)
        models = trained(sized(config, largest), task, facts, members)
        spent = time.process_time() - started
        whole = task.prepare(late, facts)
        assert isinstance(whole, BlendMember)
        return cls(config, task, facts, late, whole, models[0], customers, spent)

    def group(self, rows: Tensor) -> BlendMember:
        """The newcomer with some of the retailer's customers, by their rows, int64 [n]."""
        ids = self.whole.ids[rows.numpy()]
        lines = self.newcomer.transactions
        own = RetailerTables(self.newcomer.name, lines[lines["customer"].isin(ids)])
        found = self.task.prepare(own, self.facts)
        assert isinstance(found, BlendMember)
        place = torch.from_numpy(np.searchsorted(self.whole.ids, found.ids))
        whole = self.whole.cases[found.name]
        cases = {
            split: replace(part, ranking=whole[split].ranking.at(place))
            for split, part in found.cases[found.name].items()
        }
        return replace(found, cases={found.name: cases})


def agreed(data: RetailData, tree: Tree) -> tuple[RunConfig, BlendTask, RankingFacts]:
    """Settings, task and facts of a consortium of all retailers."""
    config = load_config(None, merge({"task": "recommendation"}, tree))
    task = create_task(config)
    assert isinstance(task, BlendTask)
    return config, task, task.agree(data)


def watched(member: BlendMember) -> BlendMember:
    """A member whose rounds are judged by some of its customers alone, which takes less time."""
    if member.customers <= WATCHED:
        return member
    rows = torch.linspace(0, member.customers - 1, WATCHED, dtype=torch.float64).long()
    cases = {split: part.at(rows) for split, part in member.cases[member.name].items()}
    return replace(member, cases={member.name: cases})


def sized(config: RunConfig, customers: int) -> RunConfig:
    """The settings of training for so many customers: batches grow with them, as rounds fall."""
    batch = min(max(customers // 10, 8), 256)
    passes = 2 if customers < 5_000 else 1
    rounds = 12 if customers < 5_000 else 8
    training = config.training.model_copy(
        update={"batch_size": batch, "local_epochs": passes, "learning_rate": 0.005}
    )
    return config.model_copy(update={"training": training, "rounds": rounds})


def trained(
    config: RunConfig, task: BlendTask, facts: RankingFacts, members: Sequence[MemberData]
) -> list[nn.Module]:
    """The members' models at the best round on validation."""
    part = [LocalProblem(config, task, facts, member) for member in members]
    shared = shared_vector(part[0].fresh_model("model"))
    return rounds_of(config, task, part, shared, config.rounds)[0]


# -- one newcomer ----------------------------------------------------------------------------------


def arms(consortium: Consortium, member: BlendMember) -> dict[str, Tensor]:
    """Whether each held-out purchase was among the first ten, by arm, bool [n] each."""
    task, name = consortium.task, member.name
    config = sized(consortium.config, member.customers)
    own = trained(config, task.by_itself(), consortium.facts, [member])[0].eval()
    late = task.model(consortium.facts, member.customers).eval()
    carried(consortium.released, late)
    alone = joined(task.shared_parts(own), member.local.parts)
    released = task.shared_parts(late)
    every = {"alone": alone, "released": released, "served": joined(alone, released)}
    return {arm: weighed(parts, member.cases[name]) for arm, parts in every.items()}


@torch.no_grad()
def weighed(parts: Parts, cases: Splits) -> Tensor:
    """The hits of a blend whose weights are chosen on validation, bool [n]."""
    weights = chosen_weights(partial(parts, cases["validation"]), cases["validation"].ranking)
    return hits(parts, weights.float(), cases["test"])


@torch.no_grad()
def carried(released: nn.Module, late: nn.Module) -> None:
    """Load what is shared into the newcomer's model; its customers have no vectors of their own."""
    for parameter in late.parameters():
        parameter.zero_()
    late.load_state_dict(named_shared(released, shared_vector(released)), strict=False)


def joined(*every: Parts) -> Parts:
    """Components side by side."""
    return lambda cases, index: torch.cat([one(cases, index) for one in every], dim=2)


def hits(parts: Parts, weights: Tensor, cases: Cases) -> Tensor:
    """Whether a case's product ranks among the first ten, ties counting against it, bool [n]."""
    ranking, found = cases.ranking, []
    for index in torch.split(torch.arange(len(ranking.positive)), 256):
        scores = parts(cases, index) @ weights
        positive = scores.gather(1, ranking.positive[index, None])
        negatives = ranking.negatives[index]
        ahead = (scores.gather(1, negatives.clamp(min=0)) >= positive) & (negatives >= 0)
        found.append(ahead.sum(dim=1) < CUTOFF)
    return torch.cat(found)


# -- the tables ------------------------------------------------------------------------------------


def rows_of(label: str, consortium: Consortium, sizes: Sequence[int]) -> Iterator[Row]:
    """A row for each number of own customers."""
    total = consortium.whole.customers
    order = torch.randperm(total, generator=torch.Generator().manual_seed(0))
    for size in sizes:
        count = max(min(GROUPS, total // size, CASES // size), 1)
        started = time.process_time()
        found = [
            arms(consortium, consortium.group(order[k * size : (k + 1) * size]))
            for k in range(count)
        ]
        row = {"newcomers": count, "cases": sum(len(one["alone"]) for one in found)}
        row |= measured({arm: torch.cat([one[arm] for one in found]) for arm in found[0]})
        row["cpu_s"] = round(time.process_time() - started, 1)
        print(f"{label}, {size} own: {row}", file=sys.stderr, flush=True)
        yield Row(f"{label}, {min(size, total):,} own customers", row)


def measured(found: dict[str, Tensor]) -> dict[str, float]:
    """Means with their standard errors, and the gains over alone, paired."""
    shown = {}
    for arm, one in found.items():
        shown |= with_error(f"{arm} hr@10", one.double())
    gain = found["served"].double() - found["alone"].double()
    return shown | with_error("served - alone", gain)


def with_error(name: str, values: Tensor) -> dict[str, float]:
    error = float(values.std()) / math.sqrt(len(values))
    return {name: round(float(values.mean()), 4), f"{name} se": round(error, 4)}


def drawn_rows(settings: Drawn, sizes: Sequence[int]) -> Iterator[Row]:
    """The last retailer is the newcomer."""
    consortium = Consortium.of(drawn(settings), len(settings.customers) - 1, WITHOUT_GRU)
    others = len(settings.customers) - 1
    label = f"drawn, {others} retailers, {sum(settings.customers[:-1]):,} customers in all"
    yield from rows_of(label, consortium, sizes)
    yield Row(f"{label}: their training", {"cpu_s": round(consortium.seconds, 1)})


def real_rows(sizes: Sequence[int]) -> Iterator[Row]:
    """The Complete Journey: its smallest retailer joins the other four."""
    data = load(load_config(None, {"task": "recommendation"}).data)
    lines = [len(member.transactions) for member in data.members]
    smallest = lines.index(min(lines))
    consortium = Consortium.of(data, smallest, {})
    label = f"Complete Journey, {data.members[smallest].name}"
    yield from rows_of(label, consortium, [*sizes, consortium.whole.customers])


FEDERATIONS = ((5, 10_000), (20, 10_000), (5, 100_000), (20, 100_000))
"""Retailers, and their customers in all."""


def benchmark(quick: bool) -> list[Row]:
    if quick:
        settings = Drawn(products=600, customers=(300, 300, 200), weeks=26)
        return list(drawn_rows(settings, (50, 100)))
    found = list(real_rows((50, 100)))
    for retailers, customers in FEDERATIONS:
        each = (customers // retailers,) * retailers
        settings = Drawn(products=2_500, customers=(*each, OWN[-1]), weeks=26)
        found += drawn_rows(settings, OWN)
    return found


if __name__ == "__main__":
    main(__doc__.splitlines()[0], benchmark)
