"""Demand at each retailer alone, by a library of gradient boosting, beside the federation.

LightGBM (Ke et al. 2017) gets what the federated model gets: the same inputs, the calendar and the
planned promotions among them, the same level beneath, and the retailer's own rows. Its leaves and
learning rate are chosen by each retailer on its own validation weeks, as is the number of trees.
By length of history and by retailer, for where joining is parity a reader wants to know for whom.
What joining saves is of the same model alone and together, in paired errors; its standard error is
over series, for the errors of a series' weeks are alike.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import lightgbm
import numpy as np
import torch
from torch import Tensor, nn

from harness import Row, main
from securefl.config.load import load_config
from securefl.config.schema import RunConfig
from securefl.data.sources.registry import load
from securefl.data.tables import RetailData
from securefl.federation.runs.prepare import Prepared, prepare_data
from securefl.ml.metrics.sums import MetricSums, total
from securefl.ml.parameters import load_shared
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.local_baseline import train_to_best
from securefl.tasks.demand.task import DemandMember, DemandTask
from securefl.tasks.demand.windows import ForecastExamples
from tuning_demand import percent
from tuning_recommendation import learners, trained

LEAVES = (4, 8, 16)
RATES = (0.03, 0.1)
TREES, PATIENCE = 400, 40
HISTORIES = {"26 weeks of training": 2, "12 weeks of training": 16, "6 weeks of training": 22}
"""The first week of the data: eight more fill the windows before training begins."""
Tallies = dict[str, MetricSums]
Saved = dict[str, Tensor]
"""What joining saves of each series' error, in percent of demand, by retailer, float64 [K]."""


def benchmark(quick: bool) -> list[Row]:
    found: list[Row] = []
    histories = list(HISTORIES.items())[: 1 if quick else None]
    for said, first in histories:
        data = load(configured(first, 0).data)
        seeds = range(1 if quick else 3)
        runs = [arms(prepare_data(configured(first, seed), data)) for seed in seeds]
        found += rows_of(said, data, runs)
    return found


def configured(first: int, seed: int) -> RunConfig:
    """Categories by week; the test weeks are the same whatever the first week is."""
    options = {
        "task": "demand",
        "mode": "plain",
        "seed": seed,
        "data": {"source": "complete-journey", "weeks": [first, 46]},
        "references": {"enabled": False},
    }
    return load_config(options=options)


def arms(prepared: Prepared) -> tuple[dict[str, Tallies], Saved]:
    """Each arm's errors on the test weeks, by retailer, and what joining saves."""
    task = prepared.task
    assert isinstance(task, DemandTask)
    started = time.process_time()
    found: dict[str, Tallies] = {
        "moving average": {m.name: task.baseline(m, "test")[m.name] for m in prepared.members},
        "alone, LightGBM": {m.name: boosted(task, m) for m in prepared.members},
    }
    alone = [by_itself(prepared, member) for member in prepared.members]
    parties, config = learners(prepared, pooled=False), prepared.config
    joined, _ = trained(prepared, parties, config.rounds, patience=config.patience)
    for said, models in (("alone", alone), ("federated", joined)):
        pairs = zip(prepared.members, models, strict=True)
        found[said] = {m.name: scored(task, m, model) for m, model in pairs}
    every = zip(prepared.members, alone, joined, strict=True)
    saved = {m.name: by_series(task, m, one) - by_series(task, m, two) for m, one, two in every}
    print(f"cpu_s {time.process_time() - started:.0f}", file=sys.stderr, flush=True)
    return found, saved


def by_itself(prepared: Prepared, member: DemandMember) -> nn.Module:
    """The federated model, trained on the retailer's own rows."""
    learner = LocalProblem(prepared.config, prepared.task, prepared.facts, member)
    model = learner.fresh_model("alone")
    load_shared(model, prepared.shared)
    settings = prepared.config.references.alone
    train_to_best(learner, model, settings, prepared.config.rounds, prepared.config.patience)
    return model


@torch.no_grad()
def scored(task: DemandTask, member: DemandMember, model: nn.Module) -> MetricSums:
    return task.evaluate(model.eval(), member, "test")[member.name]


@torch.no_grad()
def by_series(task: DemandTask, member: DemandMember, model: nn.Module) -> Tensor:
    """The mean error of each series of a retailer, in percent, float64 [K]."""
    cases = member.cases[member.name]["test"]
    sold = cases.demand > 0
    demand = cases.demand[sold].double()
    error = (task.forecast(model.eval(), cases)[sold].double() - demand).abs() / demand * 100
    keys, place = torch.unique(cases.batch[1][sold], return_inverse=True)
    summed = torch.zeros(len(keys), dtype=torch.float64).index_add_(0, place, error)
    return summed / torch.bincount(place, minlength=len(keys))


def boosted(task: DemandTask, member: DemandMember) -> MetricSums:
    """Trees on the retailer's own rows, the best of all settings on its validation weeks."""
    cases = member.cases[member.name]
    if not len(cases["validation"].demand):
        return task.scored(torch.zeros(len(cases["test"].demand)), cases["test"])
    units = tuple(member.examples.batch(torch.arange(len(member.examples))))
    rows = ForecastExamples(units, torch.zeros(0, len(units[3])))
    deciding = task.metrics[0].name
    found = []
    for leaves, rate in product(LEAVES, RATES):
        model = grown(rows, cases["validation"], leaves, rate)
        error = task.scored(forecast(model, cases["validation"]), cases["validation"])
        found.append((error.values()[deciding], leaves, rate, model))
    best = min(found, key=lambda one: one[:3])[3]
    return task.scored(forecast(best, cases["test"]), cases["test"])


def grown(
    rows: ForecastExamples, validation: ForecastExamples, leaves: int, rate: float
) -> lightgbm.Booster:
    """Trees of what moves demand away from its level; their number by the validation weeks."""
    settings: dict[str, Any] = {
        "objective": "regression_l1",
        "num_leaves": leaves,
        "learning_rate": rate,
        "min_data_in_leaf": 20,
        "feature_fraction": 0.8,
        "verbosity": -1,
        "num_threads": 1,
        "deterministic": True,
        "seed": 0,
    }
    watched = lightgbm.Dataset(inputs(validation), moved(validation))
    return lightgbm.train(
        settings,
        lightgbm.Dataset(inputs(rows), moved(rows)),
        TREES,
        valid_sets=[watched],
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
    )


def inputs(cases: ForecastExamples) -> np.ndarray:
    """The model's inputs and the level."""
    given, _, level, _ = cases.batch
    return np.column_stack([given.numpy(), level.numpy()])


def moved(cases: ForecastExamples) -> np.ndarray:
    """The logarithm of demand less its level."""
    return np.log1p(cases.demand.numpy()) - cases.batch[2].numpy()


def forecast(model: lightgbm.Booster, cases: ForecastExamples) -> torch.Tensor:
    """Units."""
    away = model.predict(inputs(cases), num_iteration=model.best_iteration)
    return torch.from_numpy(np.expm1(away + cases.batch[2].numpy()).clip(min=0)).float()


def rows_of(
    said: str, data: RetailData, found: Sequence[tuple[dict[str, Tallies], Saved]]
) -> Iterator[Row]:
    """A row an arm: MAPE over all retailers' cases, then by retailer; then what joining saves."""
    runs, saved = [one[0] for one in found], [one[1] for one in found]
    for arm in runs[0]:
        mape = [total(run[arm].values()).values() for run in runs]
        row: dict[str, Any] = {
            f"{name} %": percent(float(np.mean([one[name] for one in mape])))
            for name in ("mape", "wape")
        }
        for member in data.members:
            one = [run[arm][member.name].values()["mape"] for run in runs]
            if np.isfinite(one).all():
                row[member.name] = percent(float(np.mean(one)))
        print(f"{said}: {arm}: {row}", file=sys.stderr, flush=True)
        yield Row(f"{said}: {arm}", row)
    means = {name: torch.stack([one[name] for one in saved]).mean(dim=0) for name in saved[0]}
    everybody = {"mape %": torch.cat([*means.values()])}
    row = {name: with_error(one) for name, one in (everybody | means).items() if len(one) > 1}
    print(f"{said}: saved: {row}", file=sys.stderr, flush=True)
    yield Row(f"{said}: saved by joining, each series the same", row)


def with_error(saved: Tensor) -> str:
    """Mean over series with its standard error, in points of percent."""
    return f"{float(saved.mean()):.2f} ± {float(saved.std()) / len(saved) ** 0.5:.2f}"


if __name__ == "__main__":
    main(__doc__.splitlines()[0], benchmark)
