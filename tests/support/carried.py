"""Models that a member carries, written without a run: what it has trained does not matter here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from securefl.config.load import load_config, merge
from securefl.federation.runs.prepare import Prepared, prepare
from securefl.ml.metrics.sums import total
from securefl.ml.parameters import local_state, shared_vector
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.served.model import Model, open_model
from securefl.tasks.served.writing import Provenance, write_member_model
from support.golden_runs import CHURN, COMMON, DEMAND, HYBRID, LOCAL, PURCHASES
from support.planted_prices import planted_prices
from support.small_runs import purchases_in
from support.task_configs import BLEND, CONTENT_MODEL, TRANSFER_CUTS

SMALL_OWN = {"rounds": 1, "epochs_a_round": 1, "factorization": {"dim": 4}}
LISTS = {
    "recommendation": PURCHASES | {"model": {"name": "mf", "dim": 4}},
    "blend": PURCHASES | {"model": BLEND},
    "ncf-private": PURCHASES | {"model": {"name": "ncf", "dim": 4, "hidden": 4}, "privacy": LOCAL},
    "profile": PURCHASES
    | {"model": {"name": "profile", "rank": 2, "own": SMALL_OWN}, "privacy": LOCAL},
    "ease": PURCHASES | {"model": {"name": "ease"}},
    "hybrid": HYBRID | {"model": CONTENT_MODEL},
    "content": HYBRID | {"task": "content", "model": CONTENT_MODEL},
}
DAILY = {"validation_steps": 6, "test_steps": 6}
OTHERS = {
    "demand": DEMAND,
    "quantiles": DEMAND | {"model": {"name": "quantile-forecaster"}},
    "demand-private": DEMAND | {"privacy": LOCAL | {"unit": "record", "epsilon": 16.0}},
    "churn": CHURN,
    "churn-private": CHURN | {"privacy": LOCAL},
}


@dataclass(frozen=True)
class Carried:
    """A member's model, and what it was made of."""

    folder: Path
    prepared: Prepared
    problem: LocalProblem
    model: torch.nn.Module
    opened: Model

    def closing(self) -> dict[str, float]:
        """The closing table's figures of the member."""
        return total(self.problem.score(self.model, "test").values()).values()


def carried(folder: Path, tree: dict[str, Any], data: Any = None) -> Carried:
    """The model of a configuration's first member, after one round on its own data."""
    config = load_config(None, merge(COMMON, tree))
    prepared = prepare(config)
    problem = LocalProblem(config, prepared.task, prepared.facts, prepared.members[0])
    model = problem.fresh_model("carried")
    units = problem.units(config.rounds)
    problem.trainer(model, config.training).train(problem.seed("carried"), units)
    provenance = Provenance(
        tuple(one.name for one in prepared.members), "AAAA BBBB", bytes(32), "no protection."
    )
    write_member_model(
        folder / "model",
        problem,
        shared_vector(model),
        local_state(model),
        vocabulary=prepared.vocabulary,
        provenance=provenance,
    )
    return Carried(folder / "model", prepared, problem, model, open_model(folder / "model", data))


def tree_of(name: str, folder: Path) -> dict[str, Any]:
    """The small configuration of a task, with files of its own in a folder where it needs some."""
    known = LISTS | OTHERS
    if name in known:
        return known[name]
    if name == "pricing":
        return planted_prices(folder)
    purchases = purchases_in(folder)
    cuts = purchases.pop("recommendation")
    if name == "inventory":
        stock = {"step": "day", "min_mean": 0.5, "min_training_mean": 0.2, **DAILY}
        return {**purchases, "task": name, "model": {"name": "quantile-forecaster"}, name: stock}
    if name == "transfer":
        return {**purchases, "task": name, "model": {"rank": 2}, name: TRANSFER_CUTS, "rounds": 2}
    sizes = {"name": "gru", "dim": 4, "hidden": 4, "length": 4, "positions": 4}
    return {**purchases, "task": "sequential", "model": sizes, "sequential": cuts}
