"""Demand: every arm tuned on validation with the same effort, then scored once on the test weeks.

The same trials for the federation, each retailer alone and all data in one place. A trial's score
is its MAPE over validation weeks of several cuts in time, the later of which train on more weeks;
the test weeks are looked at with the chosen settings alone.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from harness import Row, main
from securefl.config.load import load_config
from securefl.config.schema import RunConfig, TrainingSettings
from securefl.data.sources.registry import load
from securefl.data.tables import RetailData
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.prepare import Prepared, prepare_data
from securefl.federation.runs.progress import Silent
from securefl.federation.runs.run import train_and_evaluate
from securefl.ml.metrics.sums import MetricSums, total
from securefl.tasks.base import MemberData
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.local_baseline import train_local_only

ARMS = ("federated", "alone", "pooled")
DECISIVE = "mape"
TEST_WEEKS = 6
FOLD_WEEKS = 5


@dataclass(frozen=True)
class Effort:
    """How much is tried, the same for every arm."""

    rates: tuple[float, ...]
    decays: tuple[float, ...]
    folds: int
    rounds: int
    seeds: int

    def trials(self) -> list[dict[str, float]]:
        pairs = product(self.rates, self.decays)
        return [{"learning_rate": rate, "weight_decay": decay} for rate, decay in pairs]


FULL = Effort(rates=(0.001, 0.002), decays=(0.01, 0.03), folds=2, rounds=20, seeds=3)
QUICK = Effort(rates=(0.001,), decays=(0.003, 0.01), folds=1, rounds=4, seeds=2)


@dataclass(frozen=True)
class Outcome:
    """One arm's error on validation and all its errors on test, at its best round."""

    validation: float
    test: MetricSums


@dataclass(frozen=True)
class WatchedLearner(LocalProblem):
    """A learner that notes its errors on validation, round by round."""

    validations: list[MetricSums] = field(default_factory=list)

    def score(self, model: Any, split: Any) -> dict[str, MetricSums]:
        scores = super().score(model, split)
        if split == "validation":
            self.validations.append(total(scores.values()))
        return scores


def benchmark(quick: bool) -> list[Row]:
    base = load_config(options={"task": "demand", "data": {"source": "complete-journey"}})
    data = load(base.data)
    if quick:
        return rows("department", 100.0, QUICK, data)
    return rows("category", 100.0, FULL, data) + rows("department", 100.0, FULL, data)


def rows(level: str, min_mean: float, effort: Effort, data: RetailData) -> list[Row]:
    label = f"{level} by week, mean of at least {min_mean:g}"
    cut = partial(configured, level, min_mean, effort)
    folds = [prepare_data(cut(fold=fold), data) for fold in range(effort.folds)]
    baseline = folds[0].task.baseline
    tallies = [tally for m in folds[0].members for tally in baseline(m, "test").values()]
    reference = total(tallies).values()
    result = [Row(f"{label}: moving average", shown([total(tallies)]))]
    for arm in ARMS:
        scores = [(score(arm, trial, folds), trial) for trial in effort.trials()]
        validation, chosen = min(scores, key=lambda pair: pair[0])
        started = time.process_time()
        tests = [
            outcome(arm, chosen, prepare_data(cut(seed=seed), data)).test
            for seed in range(effort.seeds)
        ]
        seconds = (time.process_time() - started) / effort.seeds
        measured = shown(tests) | {"validation %": percent(validation)} | chosen
        measured |= {"cpu s": round(seconds, 1)}
        measured["ratio"] = round(
            mean(t.values()[DECISIVE] for t in tests) / reference[DECISIVE], 3
        )
        result.append(Row(f"{label}: {arm}", measured))
    return result


def configured(
    level: str, min_mean: float, effort: Effort, fold: int = 0, seed: int = 0
) -> RunConfig:
    """Fold 0 is the run's own cut; fold k validates on the weeks that lie k times five earlier."""
    demand = {
        "level": level,
        "min_mean": min_mean,
        "validation_steps": FOLD_WEEKS,
        "test_steps": TEST_WEEKS + fold * FOLD_WEEKS,
    }
    options = {
        "task": "demand",
        "mode": "plain",
        "seed": seed,
        "rounds": effort.rounds,
        "data": {"source": "complete-journey"},
        "demand": demand,
        "references": {"enabled": False},
        "engine": {"workers": 1},
    }
    return load_config(options=options)


def score(arm: str, trial: dict[str, float], folds: Sequence[Prepared]) -> float:
    return mean(outcome(arm, trial, fold).validation for fold in folds)


def outcome(arm: str, trial: dict[str, float], prepared: Prepared) -> Outcome:
    settings = prepared.config.training.model_copy(update=trial)
    if arm == "federated":
        return federated(settings, prepared)
    parties = prepared.members if arm == "alone" else (prepared.pooled(),)
    parts = [by_itself(settings, prepared, data) for data in parties]
    validation = total(validation for validation, _ in parts).values()[DECISIVE]
    return Outcome(validation, total(test for _, test in parts))


def federated(settings: TrainingSettings, prepared: Prepared) -> Outcome:
    config = prepared.config.model_copy(update={"training": settings})
    with tempfile.TemporaryDirectory() as folder:
        directory = RunDirectory.create(Path(folder) / "run", config)
        trained = train_and_evaluate(replace(prepared, config=config), directory, Silent())
    return Outcome(trained.state.best_value, total(trained.arms["federated"].values()))


def by_itself(
    settings: TrainingSettings, prepared: Prepared, data: MemberData
) -> tuple[MetricSums, MetricSums]:
    """One party's errors on validation and test, at the round that was best on validation."""
    learner = WatchedLearner(prepared.config, prepared.task, prepared.facts, data)
    result = train_local_only(learner, settings, prepared.config.rounds, prepared.shared)
    return learner.validations[result.best_round - 1], total(result.tallies.values())


def shown(tests: Sequence[MetricSums]) -> dict[str, Any]:
    values = [tally.values() for tally in tests]
    columns = {f"{name} %": percent(mean(v[name] for v in values)) for name in ("mape", "wape")}
    if len(values) > 1:
        columns["mape spread"] = percent(stdev(v[DECISIVE] for v in values))
    return columns | {"floor %": percent(values[0]["mape_floor"])}


def percent(value: float) -> float:
    return round(100 * value, 2)


if __name__ == "__main__":
    main("Demand one week ahead: arms tuned with the same effort", benchmark)
