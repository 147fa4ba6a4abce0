"""Whole private runs on the real data: what is served, released, and told of the scores.

Five retailers, customer unit, delta 1e-5, three seeds, noise of each retailer (`local`) and noise
under the masks (`distributed`): runs as `securefl run` makes them, with the packaged settings and
without references. `scores` is the part of the budget that is kept for the closing scores; at 0
all of it trains. `told` is the score that leaves, with the deviation over seeds and the standard
error that each run states beside it. Every run's line is kept in `results/private_runs.jsonl` with
the digest of the code, and is not run again.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import Row, main
from securefl.config.load import load_config
from securefl.config.schema import RunConfig
from securefl.consortium.ledger.digests import code_digest
from securefl.consortium.ledger.paths import LedgerPaths
from securefl.data.sources.registry import load
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.outcome import completed
from securefl.federation.runs.prepare import Prepared, check_noise, prepare_data
from securefl.federation.runs.progress import Silent
from securefl.federation.runs.result import RunResult
from securefl.federation.runs.run import train_and_evaluate

KEPT = Path(__file__).parent / "results" / "private_runs.jsonl"
SHOWN, ARMS = ("hr@10", "ndcg@10"), ("federated", "released")
SEEDS, DEFAULT = 3, 0.05


@dataclass(frozen=True)
class Case:
    """One run: where noise is added, under which budget, and what of it is kept for scores."""

    dp: str
    epsilon: float
    scores: float
    seed: int

    @property
    def config(self) -> RunConfig:
        privacy = {"dp": self.dp, "epsilon": self.epsilon, "scores": self.scores}
        options = {"references": {"enabled": False}, "engine": {"workers": 1}}
        return load_config(None, {"seed": self.seed, "privacy": privacy} | options)

    @property
    def name(self) -> str:
        kept = "" if self.scores == DEFAULT else f", scores {self.scores:g}"
        return f"{self.dp}, epsilon {self.epsilon:g}{kept}"


def cases(quick: bool) -> Iterator[Case]:
    """All runs, by seed, so that what there is compares what it can if not all is run."""
    if quick:
        yield Case("local", 4.0, DEFAULT, 0)
        return
    for seed in range(SEEDS):
        for dp in ("local", "distributed"):
            for epsilon in (1.0, 2.0, 4.0, 8.0):
                yield Case(dp, epsilon, DEFAULT, seed)
            for epsilon in (2.0, 4.0):
                yield Case(dp, epsilon, 0.0, seed)


def benchmark(quick: bool) -> list[Row]:
    """Run what was not run yet, and return all rows."""
    kept = {} if quick else read(KEPT)
    prepared: dict[int, Prepared] = {}
    for case in cases(quick):
        if (case.name, case.seed) in kept:
            continue
        if case.seed not in prepared:
            # Of one seed, a retailer's own unreleased part is the same in every run.
            prepared = {case.seed: prepare_data(case.config, load(case.config.data))}
        line = measured(case, prepared[case.seed])
        kept[case.name, case.seed] = line
        print(json.dumps(line), file=sys.stderr, flush=True)
        if not quick:
            with KEPT.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
    return rows(list(kept.values()))


def read(path: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """The lines of runs that are done, by name and seed."""
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {(line["case"], line["seed"]): line for line in lines}


def measured(case: Case, prepared: Prepared) -> dict[str, Any]:
    """One run's line."""
    config = case.config
    check_noise(config, len(prepared.members), len(prepared.shared))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        places = LedgerPaths(books=path / "ledgers")
        directory = RunDirectory.create(path / "run", config, places)
        one = replace(prepared, config=config)
        result = completed(directory, lambda: (one, train_and_evaluate(one, directory, Silent())))
    facts = {"case": case.name, "seed": case.seed, "code": code_digest()[:12]}
    return facts | figures(result)


def figures(result: RunResult) -> dict[str, Any]:
    """Sigma and epsilon, the observer's figures of both arms, and the scores that left."""
    assert result.privacy is not None
    assert result.scores is not None
    account = result.privacy.members[0]
    found: dict[str, Any] = {
        "sigma": round(account.noise_multiplier, 3),
        "epsilon": round(result.privacy.largest_epsilon, 4),
        "seconds": round(result.seconds, 1),
    }
    for arm in ARMS:
        found |= {f"{arm} {name}": round(result.metrics[arm][name], 5) for name in SHOWN}
    for arm, metrics in result.scores.arms.items():
        for name in SHOWN:
            score = metrics[name]
            found[f"told {arm} {name}"] = [round(score.value, 5), round(score.standard_error, 5)]
    return found


def rows(lines: Sequence[dict[str, Any]]) -> list[Row]:
    """One row a case: means and deviations over its seeds."""
    by_case: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        by_case.setdefault(line["case"], []).append(line)
    return [Row(case, summary(found)) for case, found in by_case.items()]


def summary(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "seeds": len(lines),
        "sigma": lines[0]["sigma"],
        "code": " ".join(sorted({line["code"] for line in lines})),
    }
    for key in lines[0]:
        if key.startswith("told "):
            values, errors = zip(*(line[key] for line in lines), strict=True)
            found |= spread(key, values)
            found[f"{key} stated error"] = round(statistics.fmean(errors), 4)
        elif key.split()[0] in ARMS:
            found |= spread(key, [line[key] for line in lines])
    return found


def spread(key: str, values: Sequence[float]) -> dict[str, float]:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {key: round(statistics.fmean(values), 4), f"{key} sd": round(deviation, 4)}


if __name__ == "__main__":
    sys.exit(main(__doc__.splitlines()[0], benchmark))
