"""One task in every mode on the real data: naive, alone, federated, private, pooled.

`python benchmarks/tasks.py NAME`. Means and sample deviations over three seeds on the held-out
cases of all retailers. The references are those of the secure runs. Under a budget, `served` is
what a retailer uses (its own unreleased part beside the shared one, where the task has one),
`released` what everybody may see. A protection that the model does not offer has no row.

With `--runs DIR` the runs stay there, and those that are finished are read: a benchmark that was
interrupted goes on. A run is found by its settings, so that other code needs another folder.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import securefl
from harness import Row, main
from securefl.config.metric_labels import LABELS
from securefl.config.task_registry import TASKS, declaration
from securefl.errors import ConfigError
from securefl.federation.runs.result import RunResult

EPSILONS = (2.0, 8.0)
PLAIN = {"mode": "plain", "references": False}
SECURE = {"mode": "secure"}
CASES: dict[str, dict[str, Any]] = {
    **{task: {"task": task} for task in TASKS},
    "ease": {"task": "recommendation", "model": "ease"},
    "demand-quantiles": {"task": "demand", "model": "quantile-forecaster"},
    "inventory-reorder": {"task": "inventory", "inventory": {"policy": "reorder"}},
}
"""What is measured, by name: the default model of each task, and what else is worth a table."""


class Runs:
    """The runs of one case.

    Args:
        options: What all of them have in common.
        seeds: One run each.
        place: Where they stay.
    """

    def __init__(self, options: dict[str, Any], seeds: Sequence[int], place: Path) -> None:
        self._options, self._seeds, self._place = options, seeds, place

    def results(self, **options: Any) -> list[RunResult]:
        return [
            self._result(securefl.configure(seed=seed, **self._options, **options))
            for seed in self._seeds
        ]

    def _result(self, config: securefl.RunConfig) -> RunResult:
        name = sha256(config.model_dump_json(exclude={"engine"}).encode()).hexdigest()[:16]
        place = self._place / f"{config.task}-{name}"
        print(f"{place.name}: {config.mode}, seed {config.seed}", file=sys.stderr, flush=True)
        if (place / "run" / "config.toml").exists():
            return securefl.resume(place / "run")
        return securefl.run(config, place / "run", book=place / "book")


def benchmark(name: str, place: Path, workers: int, quick: bool) -> list[Row]:
    options = {"workers": workers, **CASES[name]}
    if quick and "tutorial" in declaration(options["task"]).defaults:
        options["data"] = "tutorial"
    return rows(name, Runs(options, range(1 if quick else 3), place))


def rows(name: str, runs: Runs) -> list[Row]:
    secure = runs.results(**SECURE)
    found = [row(f"{name}: {arm}", secure, arm) for arm in ("naive", "alone", "pooled")]
    found += [
        row(f"{name}: federated, plain", runs.results(**PLAIN), "federated"),
        row(f"{name}: federated, secure", secure, "federated"),
    ]
    for dp in ("local", "distributed"):
        for epsilon in EPSILONS:
            found += private_rows(name, runs, dp, epsilon)
    return found


def private_rows(name: str, runs: Runs, dp: str, epsilon: float) -> list[Row]:
    try:
        found = runs.results(dp=dp, epsilon=epsilon, references=False)
    except ConfigError:
        return []
    case = f"{name}: {dp}, epsilon {epsilon:g}"
    return [row(f"{case}, {said}", found, arm) for said, arm in SAID.items()]


SAID = {"served": "federated", "released": "released"}


def row(case: str, found: list[RunResult], arm: str) -> Row:
    measured: dict[str, float] = {}
    for metric in found[0].metrics[arm]:
        if metric in LABELS and LABELS[metric].headline:
            values = [result.metrics[arm][metric] for result in found]
            measured[metric] = round(statistics.fmean(values), 4)
            if len(values) > 1:
                measured[f"{metric} sd"] = round(statistics.stdev(values), 4)
    return Row(case, measured)


def kept(title: str, case: Callable[[Path, int, bool], list[Row]]) -> None:
    """The command line of a benchmark of runs: `--runs` and `--workers` beside those of all."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--runs", type=Path, help="where the runs stay")
    parser.add_argument(
        "--workers", type=int, default=0, help="processes a run; 0 takes one a core"
    )
    chosen, sys.argv[1:] = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        main(title, partial(case, chosen.runs or Path(folder), chosen.workers))


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in CASES:
        sys.exit(f"tasks: say which one: {', '.join(CASES)}")
    chosen = sys.argv.pop(1)
    kept(f"{chosen}, in every mode", partial(benchmark, chosen))
