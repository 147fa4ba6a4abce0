"""The recommenders on MovieLens-100K, beside what is published: leave-one-out, 99 negatives.

`python benchmarks/movielens.py [--wheel PATH]`; with `--files FOLDER` it writes the data and a
configuration there, and `securefl run FOLDER/securefl.toml` trains the blend as any other run does.

Five members, three seeds. Test is a user's newest rating, validation the one before; everything is
chosen on validation: rounds, the weights of a model's parts, and of the models in a blend. Without
a wheel, `recbole` is downloaded. FedAvg is computed without masks, which change no sum
(docs/specification/protocol.md).
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from harness import Row, main
from movielens_data import MovieLens, prepared, read, written
from private_federation import train_privately
from securefl.config.load import merge
from securefl.federation.runs.prepare import Prepared
from securefl.ml.metrics.sums import MetricSums, total
from securefl.ml.parameters import load_shared
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.recommendation.personalization import (
    Parts,
    PersonalizedTask,
    Splits,
    blended_metrics,
)
from tuning_recommendation import learners, tallies, trained

ARMS = ("alone", "federated", "pooled")
CUTS = {
    "min_households": 1,
    "offered": "assortment",
    "recency_days": 1e5,
    "recency_floor": 1.0,
    "prior": 0.0,
}
MODELS = {
    "mf": {
        "task": "recommendation",
        "rounds": 40,
        "recommendation": CUTS,
        "model": {"name": "mf", "dim": 32},
        "training": {"learning_rate": 0.005, "batch_size": 16, "local_epochs": 2},
    },
    "ease": {
        "task": "recommendation",
        "recommendation": CUTS,
        "model": {"name": "ease", "items": 2000, "ridge": 5.0},
    },
    "attention": {
        "task": "sequential",
        "rounds": 40,
        "sequential": CUTS,
        "model": {
            "name": "attention",
            "loss": "softmax",
            "dim": 32,
            "hidden": 32,
            "length": 64,
            "positions": 32,
            "purchases": 1000,
        },
        "training": {"learning_rate": 0.005, "batch_size": 32, "local_epochs": 2},
    },
}
OFF = {"holder": "none"}
TRAINING = {"optimizer": "adam", "learning_rate": 0.005, "batch_size": 16, "local_epochs": 2}
AS_ONE = {
    "task": "recommendation",
    "rounds": 40,
    "recommendation": CUTS,
    "model": {
        "name": "blend",
        "parts": {
            **dict.fromkeys(("gru", "lately", "here"), OFF),
            "mf": {"model": {"name": "mf", "dim": 32}},
            "attention": {"task": "sequential", "model": MODELS["attention"]["model"]},
            "matrix": {"model": {"name": "ease", "items": 2000, "ridge": 5.0}},
            "together": {"holder": "own", "model": {"name": "neighbours", "baskets": 64.0}},
        },
    },
    "training": TRAINING,
    "references": {"alone": TRAINING, "pooled": TRAINING},
}
"""The three models and a member's own item-to-item model, trained side by side as one."""
PRIVATE = {
    "task": "sequential",
    "sequential": CUTS,
    "model": {
        "name": "attention",
        "loss": "softmax",
        "vectors": "fixed",
        "popularity_step": 10.0,
        "recall": 4.0,
        "history_dropout": 0.5,
        "dim": 64,
        "hidden": 8,
        "length": 64,
        "positions": 1,
        "horizon": 64,
        "own": {
            "factorization": {"dim": 32},
            "batch_size": 32,
            "twin_rate": 0.005,
            "dim": 32,
            "hidden": 32,
            "loss": "softmax",
            "purchases": 1000,
            "positions": 32,
        },
    },
    "privacy": {"dp": "local", "expected_batch": 189.0},
}
RATINGS = {
    "task": "recommendation",
    "data": {"source": "tutorial"},
    "rounds": 20,
    "model": {"name": "rating-ncf"},
}
EPSILONS = (8.0, 2.0)


@dataclass(frozen=True)
class Fitted:
    """One model in one arm: retailer to the parts of its scores, and to its cases."""

    parts: Mapping[str, Parts]
    cases: Mapping[str, Splits]


def benchmark(data: MovieLens, quick: bool) -> list[Row]:
    seeds, most = (range(1), 1) if quick else (range(3), 100)
    rows = [popularity(data)]
    for arm in ARMS:
        fits = [
            {name: fitted(data, tree, arm, seed, most) for name, tree in MODELS.items()}
            for seed in seeds
        ]
        rows.append(row(f"{arm}: as one model", as_one(data, seeds, arm, most)))
        for names in [*([name] for name in MODELS), ["attention", "ease"], list(MODELS)]:
            found = [blend([fit[name] for name in names]) for fit in fits]
            rows.append(row(f"{arm}: {' + '.join(names)}", found))
    return [*rows, *private(data, seeds, most), *ratings(data, seeds, most)]


def as_one(data: MovieLens, seeds: range, arm: str, most: int) -> list[list[MetricSums]]:
    """The test cases of the blend that is one model, by seed."""
    found = []
    for seed in seeds:
        pairs = list(parties(prepared(data, merge(AS_ONE, {"seed": seed})), arm, most))
        found.append(tallies(*zip(*pairs, strict=True), "test"))
    return found


def popularity(data: MovieLens) -> Row:
    """Every user is shown what most users of her member rated."""
    start = prepared(data, MODELS["mf"])
    found = [t for m in start.members for t in start.task.baseline(m, "test").values()]
    return row("popularity", [found])


def fitted(data: MovieLens, tree: dict, arm: str, seed: int, most: int) -> Fitted:
    """A model trained by every member alone, by FedAvg, or on all data in one place."""
    parts: dict[str, Parts] = {}
    cases: dict[str, Splits] = {}
    start = prepared(data, merge(tree, {"seed": seed}))
    for party, model in parties(start, arm, most):
        for name, splits in party.data.cases.items():
            parts[name], cases[name] = parts_of(start, model.eval()), splits
    return Fitted(parts, cases)


def parties(start: Prepared, arm: str, most: int) -> Iterator[tuple[LocalProblem, nn.Module]]:
    """Who takes part in an arm, each with the model of its best round."""
    everybody = learners(start, pooled=arm == "pooled")
    groups = [[learner] for learner in everybody] if arm == "alone" else [everybody]
    for group in groups:
        models, _ = trained(start, group, min(start.config.rounds, most))
        yield from zip(group, models, strict=True)


def parts_of(start: Prepared, model: nn.Module) -> Parts:
    task = start.task
    return (
        task.shared_parts(model)
        if isinstance(task, PersonalizedTask)
        else partial(task.parts, model)
    )


@torch.no_grad()
def blend(fits: Sequence[Fitted]) -> list[MetricSums]:
    """The test cases ranked by all parts of these models, with weights that validation chose."""
    found = []
    for name, splits in fits[0].cases.items():
        parts = joined([fit.parts[name] for fit in fits])
        found.append(blended_metrics(parts, parts, splits, "test"))
    return found


def joined(parts: Sequence[Parts]) -> Parts:
    return lambda cases, index: torch.cat([part(cases, index) for part in parts], dim=2)


def private(data: MovieLens, seeds: range, most: int) -> list[Row]:
    """The sequential model under a budget for every user: served, released, and the own part."""
    arms: dict[str, list[Sequence[MetricSums]]] = {}
    for seed in seeds:
        own = {"rounds": min(40, most)}
        changes = {"seed": seed, "privacy": {"epsilon": 1.0}, "model": {"own": own}}
        start = prepared(data, merge(PRIVATE, changes))
        arms.setdefault("own part", []).append(scored(start, start.task.evaluate_local))
        for epsilon in EPSILONS:
            model = start.task.model(start.facts, 0)
            load_shared(model, train_privately(start, epsilon).shared)
            for said, score in (
                ("served", start.task.evaluate),
                ("released", start.task.evaluate_shared),
            ):
                found = scored(start, partial(score, model.eval()))
                arms.setdefault(f"epsilon {epsilon:g}, {said}", []).append(found)
    return [row(f"private: {name}", found) for name, found in arms.items()]


@torch.no_grad()
def scored(start: Prepared, score: Callable[..., dict[str, MetricSums]]) -> list[MetricSums]:
    return [tally for member in start.members for tally in score(member, "test").values()]


def ratings(data: MovieLens, seeds: range, most: int) -> list[Row]:
    """Share of held-out ratings, 1 to 5, that the tutorial's classifier foresees."""
    rows = []
    for arm in ARMS:
        found = []
        for seed in seeds:
            start = prepared(data, merge(RATINGS, {"seed": seed}))
            pairs = list(parties(start, arm, most))
            found.append(tallies(*zip(*pairs, strict=True), "test"))
        rows.append(row(f"ratings, {arm}", found))
    baseline = [tally for m in start.members for tally in start.task.baseline(m, "test").values()]
    return [*rows, row("ratings, most frequent", [baseline])]


def row(case: str, seeds: Sequence[Sequence[MetricSums]]) -> Row:
    """Mean and spread over seeds of all members' cases."""
    scores = [total(found).values() for found in seeds]
    measured: dict[str, float] = {}
    for name in scores[0]:
        found = [score[name] for score in scores]
        measured[name] = round(statistics.fmean(found), 4)
        if len(found) > 1:
            measured[f"{name} sd"] = round(statistics.stdev(found), 4)
    print(f"{case}: {measured}", file=sys.stderr, flush=True)
    return Row(case, measured)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--wheel", type=Path)
    parser.add_argument("--files", type=Path)
    given, sys.argv[1:] = parser.parse_known_args()
    if given.files is not None:
        sys.exit(print(written(read(given.wheel), AS_ONE, given.files)))
    sys.exit(main(__doc__.splitlines()[0], partial(benchmark, read(given.wheel))))
