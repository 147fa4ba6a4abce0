"""The same search for every arm: federated, each retailer alone, all data in one place.

An arm that nobody tuned is beaten by anything. So the search runs in two stages, with the same
candidates and the same number of rounds for all three arms, and only validation decides:

1. What the arms have in common (sizes, weights of the purchases): each candidate is trained in
   every arm, and the one with the best mean over the three arms is taken, which favours none.
2. How an arm trains: each arm takes its own best candidate.

Then every arm trains with its choice from three seeds and is scored on the test cases.
"""

from __future__ import annotations

import copy
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from harness import Row, main
from securefl.config.load import load_config, merge
from securefl.config.schema import RunConfig
from securefl.data.sources.registry import load
from securefl.federation.runs.prepare import Prepared, prepare_data
from securefl.ml.metrics.sums import MetricSums, total
from securefl.ml.parameters import load_shared, shared_vector
from securefl.ml.vectors import FloatVector
from securefl.tasks.base import AnyTask
from securefl.tasks.common.learner import LocalProblem

ARMS = ("alone", "federated", "pooled")
PATIENCE = 2
"""The search ends a training so many rounds after the best one."""
SHOWN = ("hr@10", "ndcg@10", "ndcg@10_expected", "hr@10_full", "ndcg@10_full")
Tree = dict[str, Any]

COMMON: tuple[Tree, ...] = (
    {},
    {"model": {"dim": 32}},
    {"model": {"history_dropout": 0.5}},
    {"recommendation": {"recency_days": 28.0}},
    {"recommendation": {"recency_days": 112.0}},
    {"recommendation": {"prior": 1.0}},
)
TRAINING: tuple[Tree, ...] = (
    {},
    {"learning_rate": 0.002},
    {"learning_rate": 0.01},
    {"batch_size": 128},
    {"weight_decay": 1e-5},
    {"local_epochs": 1},
)
START: Tree = {
    "task": "recommendation",
    "model": {"name": "mf", "dim": 64, "history_dropout": 0.2},
    "recommendation": {"recency_days": 56.0, "recency_floor": 0.02, "prior": 0.5},
    "training": {
        "optimizer": "adam",
        "learning_rate": 0.005,
        "weight_decay": 0.0,
        "batch_size": 64,
        "local_epochs": 2,
    },
}
"""Where the search starts, whatever the packaged defaults have become."""


@dataclass(frozen=True)
class Trial:
    """One arm trained once: both splits at the round that was best on validation."""

    validation: dict[str, float]
    test: dict[str, float]
    round: int
    seconds: float


def benchmark(quick: bool) -> list[Row]:
    """Search, then train every arm with its choice from several seeds."""
    common, training, rounds, seeds = (
        (COMMON[:1], TRAINING[:1], 1, 1) if quick else (COMMON, TRAINING, 10, 3)
    )
    lab = Laboratory(rounds)
    base = search_common(lab, common)
    best = {arm: search_training(lab, base, arm, training) for arm in ARMS}
    outcomes = [outcome(lab, arm, best[arm], seeds) for arm in ARMS]
    return [*lab.rows, popularity(lab, base), *outcomes]


class Laboratory:
    """Trains arms on the real data, each setting once, and keeps the lines of the search."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.rows: list[Row] = []
        self._data = load(load_config(None, {"task": "recommendation"}).data)
        self._trials: dict[str, Trial] = {}

    def prepared(self, tree: Tree, seed: int = 0) -> Prepared:
        """The members' data for a setting."""
        source = {"data": {"source": "complete-journey"}, "seed": seed}
        return prepare_data(RunConfig.model_validate(merge(tree, source)), self._data)

    def trial(self, arm: str, tree: Tree, seed: int = 0) -> Trial:
        """One arm trained with a setting."""
        key = repr((arm, sorted(flat(tree)), seed))
        if key not in self._trials:
            self._trials[key] = train(self.prepared(tree, seed), arm, self.rounds)
        return self._trials[key]


def search_common(lab: Laboratory, candidates: Sequence[Tree]) -> Tree:
    """The candidate with the best mean over the arms on validation."""
    means = []
    for candidate in candidates:
        trials = {arm: lab.trial(arm, merge(START, candidate)) for arm in ARMS}
        lab.rows += [search_row("common", candidate, arm, trials[arm]) for arm in ARMS]
        means.append(statistics.fmean(t.validation["ndcg@10_expected"] for t in trials.values()))
    return merge(START, candidates[means.index(max(means))])


def search_training(lab: Laboratory, base: Tree, arm: str, candidates: Sequence[Tree]) -> Tree:
    """The arm's best candidate on validation."""
    scores = []
    for candidate in candidates:
        trial = lab.trial(arm, merge(base, {"training": candidate}))
        scores.append(trial.validation["ndcg@10_expected"])
        lab.rows.append(search_row("training", candidate, arm, trial))
    return merge(base, {"training": candidates[scores.index(max(scores))]})


def search_row(stage: str, candidate: Tree, arm: str, trial: Trial) -> Row:
    """A line of the search: validation alone, since the test cases have no say in it."""
    name = " ".join(f"{key}={value}" for key, value in flat(candidate)) or "start"
    measured = {
        "validation": round(trial.validation["ndcg@10_expected"], 4),
        "round": trial.round,
        "cpu_s": round(trial.seconds, 1),
    }
    print(f"{stage}: {name}, {arm}: {measured}", file=sys.stderr, flush=True)
    return Row(f"search {stage}: {name}, {arm}", measured)


def flat(tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The leaves of a tree with their keys."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value)
        else:
            yield key, value


def popularity(lab: Laboratory, tree: Tree) -> Row:
    """The naive rule on the test cases."""
    prepared = lab.prepared(tree)
    scores = values(t for m in prepared.members for t in prepared.task.baseline(m, "test").values())
    return Row("test: popularity", {name: round(scores[name], 4) for name in SHOWN})


def outcome(lab: Laboratory, arm: str, tree: Tree, seeds: int) -> Row:
    """Mean and spread (standard deviation) over seeds on the test cases."""
    trials = [lab.trial(arm, tree, seed) for seed in range(seeds)]
    measured: dict[str, Any] = {}
    for name in SHOWN:
        scores = [trial.test[name] for trial in trials]
        measured[name] = round(statistics.fmean(scores), 4)
        measured[f"{name} sd"] = round(statistics.stdev(scores), 4) if seeds > 1 else 0.0
    measured["cpu_s"] = round(statistics.fmean(t.seconds for t in trials), 1)
    measured["chosen"] = " ".join(f"{key}={value}" for key, value in flat(tree))
    print(f"{arm}: {measured}", file=sys.stderr, flush=True)
    return Row(f"test: {arm}", measured)


def train(prepared: Prepared, arm: str, rounds: int) -> Trial:
    """Train one arm, and score the test cases at its best validation round."""
    start = time.process_time()
    if arm == "alone":
        parts = [[learner] for learner in learners(prepared, pooled=False)]
    else:
        parts = [learners(prepared, pooled=arm == "pooled")]
    runs = [best_round(prepared, part, rounds) for part in parts]
    return Trial(
        validation=values(tally for run in runs for tally in run[0]),
        test=values(tally for run in runs for tally in run[1]),
        round=max(run[2] for run in runs),
        seconds=time.process_time() - start,
    )


def learners(prepared: Prepared, *, pooled: bool) -> list[LocalProblem]:
    """The parties that train together."""
    members = (prepared.pooled(),) if pooled else prepared.members
    return [LocalProblem(prepared.config, prepared.task, prepared.facts, m) for m in members]


def best_round(
    prepared: Prepared, part: Sequence[LocalProblem], rounds: int
) -> tuple[list[MetricSums], list[MetricSums], int]:
    """FedAvg over `part` (of one party: its plain training), kept at its best validation round."""
    models, best = trained(prepared, part, rounds)
    return tallies(part, models, "validation"), tallies(part, models, "test"), best


def trained(
    prepared: Prepared,
    part: Sequence[LocalProblem],
    rounds: int,
    *,
    patience: int | None = PATIENCE,
) -> tuple[list[torch.nn.Module], int]:
    """The parties' models as the best round on validation left them, and its number."""
    settings, start = prepared.config, prepared.shared
    return rounds_of(settings, prepared.task, part, start, rounds, patience=patience)


def rounds_of(
    config: RunConfig,
    task: AnyTask,
    part: Sequence[LocalProblem],
    shared: FloatVector,
    rounds: int,
    *,
    patience: int | None = PATIENCE,
) -> tuple[list[torch.nn.Module], int]:
    """FedAvg from a shared model: the parties' models at the best round, and its number.

    Training ends `patience` rounds after the best one, or with None after all rounds.
    """
    models = [learner.fresh_model("model") for learner in part]
    trainers = [
        learner.trainer(model, config.training) for learner, model in zip(part, models, strict=True)
    ]
    weights = np.array([learner.data.samples for learner in part], dtype=np.float32)
    weights /= weights.sum()
    decisive = task.metrics[0]
    best, best_value, kept = 0, float("nan"), []
    for number in range(1, rounds + 1):
        total_change = np.zeros_like(shared)
        for learner, model, trainer, weight in zip(part, models, trainers, weights, strict=True):
            load_shared(model, shared)
            trainer.train(learner.seed("train", number), learner.units(number))
            total_change += weight * (shared_vector(model) - shared)
        shared = shared + total_change
        for model in models:
            load_shared(model, shared)
        value = total(tallies(part, models, "validation")).values()[decisive.name]
        if best == 0 or decisive.better(value, best_value):
            best_value, best = value, number
            kept = [copy.deepcopy(model.state_dict()) for model in models]
        elif patience is not None and number - best >= patience:
            break
    for model, state in zip(models, kept, strict=True):
        model.load_state_dict(state)
    return models, best


def tallies(
    part: Sequence[LocalProblem], models: Sequence[torch.nn.Module], split: Any
) -> list[MetricSums]:
    """Each retailer's metric sums."""
    pairs = zip(part, models, strict=True)
    return [tally for learner, model in pairs for tally in learner.score(model, split).values()]


def values(parts: Iterator[MetricSums]) -> dict[str, float]:
    """The metrics over all retailers' cases."""
    return total(parts).values()


if __name__ == "__main__":
    main(__doc__.splitlines()[0], benchmark)
