"""One task in every mode on the real data: naive, alone, federated, private, pooled.

`python benchmarks/tasks.py TASK`. Means and sample deviations over three seeds on the held-out
cases of all retailers. The references are those of the secure runs. Under a budget, `served` is
what a retailer uses (its own unreleased part beside the shared one, where the task has one),
`released` what everybody may see. A protection that the task's default model does not offer has no
row.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path

import securefl
from harness import Row, main
from securefl.errors import ConfigError
from securefl.evaluation.labels import LABELS
from securefl.runs.result import RunResult
from securefl.tasks.registry import TASKS

EPSILONS = (2.0, 8.0)
PLAIN = {"mode": "plain", "references": False}
SECURE = {"mode": "secure"}


def benchmark(task: str, quick: bool) -> list[Row]:
    seeds = range(1 if quick else 3)
    source = {"data": "tutorial"} if quick else {}
    secure = results(seeds, task=task, **SECURE, **source)
    rows = [row(f"{task}: {arm}", secure, arm) for arm in ("naive", "alone", "pooled")]
    plain = results(seeds, task=task, **PLAIN, **source)
    rows += [
        row(f"{task}: federated, plain", plain, "federated"),
        row(f"{task}: federated, secure", secure, "federated"),
    ]
    for dp in ("local", "distributed"):
        for epsilon in EPSILONS:
            rows += private_rows(seeds, dp, epsilon, task=task, **source)
    return rows


def private_rows(seeds: range, dp: str, epsilon: float, **options) -> list[Row]:
    try:
        found = results(seeds, dp=dp, epsilon=epsilon, references=False, **options)
    except ConfigError:
        return []
    case = f"{options['task']}: {dp}, epsilon {epsilon:g}"
    return [row(f"{case}, {said}", found, arm) for said, arm in SAID.items()]


SAID = {"served": "federated", "released": "released"}


def results(seeds: range, **options) -> list[RunResult]:
    found = []
    for seed in seeds:
        config = securefl.configure(seed=seed, **options)
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            found.append(securefl.run(config, place / "run", book=place / "book"))
    return found


def row(case: str, found: list[RunResult], arm: str) -> Row:
    measured: dict[str, float] = {}
    for metric in found[0].metrics[arm]:
        if metric in LABELS and LABELS[metric].headline:
            values = [result.metrics[arm][metric] for result in found]
            measured[metric] = round(statistics.fmean(values), 4)
            if len(values) > 1:
                measured[f"{metric} sd"] = round(statistics.stdev(values), 4)
    measured["seconds"] = round(statistics.fmean(result.seconds for result in found), 1)
    return Row(case, measured)


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in TASKS:
        sys.exit(f"tasks: say which one: {', '.join(TASKS)}")
    chosen = sys.argv.pop(1)
    sys.exit(main(f"{chosen}, in every mode", partial(benchmark, chosen)))
