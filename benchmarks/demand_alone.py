"""Demand at each retailer alone, by a library of gradient boosting, beside the federation.

LightGBM (Ke et al. 2017) gets what the federated model gets: the same inputs, the calendar and the
planned promotions among them, the same level beneath, and the retailer's own rows. Its leaves and
learning rate are chosen by each retailer on its own validation weeks, as is the number of trees.
By length of history and by retailer, for where joining is parity a reader wants to know for whom.
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

from harness import Row, main
from securefl.config.load import load_config
from securefl.config.schema import RunConfig
from securefl.data.sources.registry import load
from securefl.data.tables import RetailData
from securefl.federation.runs.prepare import Prepared, prepare_data
from securefl.ml.metrics.sums import MetricSums, total
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.local_baseline import train_local_only
from securefl.tasks.demand.task import DemandMember, DemandTask
from securefl.tasks.demand.windows import ForecastExamples
from tuning_demand import percent
from tuning_recommendation import best_round, learners

LEAVES = (4, 8, 16)
RATES = (0.03, 0.1)
TREES, PATIENCE = 400, 40
HISTORIES = {"26 weeks of training": 2, "12 weeks of training": 16, "6 weeks of training": 22}
"""The first week of the data: eight more fill the windows before training begins."""
Tallies = dict[str, MetricSums]


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


def arms(prepared: Prepared) -> dict[str, Tallies]:
    """Each arm's errors on the test weeks, by retailer."""
    task = prepared.task
    assert isinstance(task, DemandTask)
    started = time.process_time()
    found: dict[str, Tallies] = {
        "moving average": {m.name: task.baseline(m, "test")[m.name] for m in prepared.members},
        "alone, LightGBM": {m.name: boosted(task, m) for m in prepared.members},
        "alone": {m.name: by_itself(prepared, m) for m in prepared.members},
    }
    parties = learners(prepared, pooled=False)
    tests = best_round(prepared, parties, prepared.config.rounds)[1]
    found["federated"] = {p.data.name: one for p, one in zip(parties, tests, strict=True)}
    print(f"cpu_s {time.process_time() - started:.0f}", file=sys.stderr, flush=True)
    return found


def by_itself(prepared: Prepared, member: DemandMember) -> MetricSums:
    """The federated model, trained on the retailer's own rows."""
    learner = LocalProblem(prepared.config, prepared.task, prepared.facts, member)
    settings = prepared.config.references.alone or prepared.config.training
    result = train_local_only(learner, settings, prepared.config.rounds, prepared.shared)
    return total(result.tallies.values())


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


def rows_of(said: str, data: RetailData, runs: Sequence[dict[str, Tallies]]) -> Iterator[Row]:
    """A row an arm: MAPE over all retailers' cases, then by retailer."""
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


if __name__ == "__main__":
    main(__doc__.splitlines()[0], benchmark)
