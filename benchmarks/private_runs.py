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
NAMES, LABELS = {"federated": "served", "released": "released"}, ("HR@10", "NDCG@10")
ALL = [(arm, metric) for arm in ARMS for metric in SHOWN]
POINTS = [(dp, epsilon) for dp in ("local", "distributed") for epsilon in (1.0, 2.0, 4.0, 8.0)]
PAGE = Path(__file__).parent.parent / "docs" / "results" / "recommendation-private.md"
BEGIN, END = "<!-- private runs: begin -->", "<!-- private runs: end -->"
EARLIER = json.loads((KEPT.parent / "private_recommendation.json").read_text(encoding="utf-8"))
BEFORE = {"local": {row["case"]: row for row in EARLIER["rows"]}}
"""Measured at an earlier commit, by the script of the same name, with noise of each retailer."""
Found = dict[str, dict[str, Any]]


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


# -- the page --------------------------------------------------------------------------------------


def page() -> str:
    """Three tables: utility before and now, the scores that leave, and what keeping them costs."""
    lines = list(read(KEPT).values())
    found = {row.case: row.measured for row in rows(lines)}
    total = sum(1 for _ in cases(quick=False))
    codes = ", ".join(sorted({line["code"] for line in lines}))
    head = f"{len(lines)} of {total} runs, code {codes}; `(2)` is a mean over two seeds only."
    return "\n\n".join([BEGIN, head, utility(found), told(found), cost(found), END])


def utility(found: Found) -> str:
    """Served and released, with what the same settings reached before, where that was measured."""
    head = ["noise", "epsilon", "sigma", *(f"{arm} {m}" for arm in NAMES.values() for m in LABELS)]
    body = []
    for dp, epsilon in POINTS:
        old = BEFORE.get(dp, {})
        was = {arm: old.get(f"epsilon {epsilon:g}: {arm}") for arm in ARMS}
        now = found.get(f"{dp}, epsilon {epsilon:g}")
        for what, of in (("before", was), ("now", dict.fromkeys(ARMS, now))):
            if all(of.values()):
                cells = [pair(of[arm], metric, arm if what == "now" else "") for arm, metric in ALL]
                sigma = f"{of[ARMS[0]]['sigma']:.3g}"
                body.append([f"{dp}, {what}{seeds(of[ARMS[0]])}", f"{epsilon:g}", sigma, *cells])
    return markdown_table(head, body)


def told(found: Found) -> str:
    """What leaves: mean and deviation over seeds, and the standard error that each run states."""
    head = ["noise", "epsilon", *(f"{label}, {w}" for label in LABELS for w in ("told", "stated"))]
    body = []
    for dp, epsilon in POINTS:
        now = found.get(f"{dp}, epsilon {epsilon:g}")
        if now is not None:
            cells = [
                cell
                for metric in SHOWN
                for cell in (
                    pair(now, f"told released {metric}", ""),
                    f"{now[f'told released {metric} stated error']:.3f}",
                )
            ]
            body.append([f"{dp}{seeds(now)}", f"{epsilon:g}", *cells])
    return markdown_table(head, body)


def cost(found: Found) -> str:
    """The same seeds with all of the budget for training."""
    head = [
        "noise",
        "epsilon",
        "scores",
        "sigma",
        *(f"{a} {m}" for a in NAMES.values() for m in LABELS),
    ]
    body = []
    for dp, epsilon in POINTS:
        for share, tail in ((DEFAULT, ""), (0.0, ", scores 0")):
            now = found.get(f"{dp}, epsilon {epsilon:g}{tail}")
            if now is not None and f"{dp}, epsilon {epsilon:g}, scores 0" in found:
                cells = [pair(now, metric, arm) for arm, metric in ALL]
                where = [f"{dp}{seeds(now)}", f"{epsilon:g}", f"{share:g}"]
                body.append([*where, f"{now['sigma']:.4g}", *cells])
    return markdown_table(head, body)


def pair(measured: dict[str, Any], metric: str, arm: str) -> str:
    key = f"{arm} {metric}".strip()
    return f"{measured[key]:.3f} ± {measured[f'{key} sd']:.3f}".replace("0.", ".")


def seeds(measured: dict[str, Any]) -> str:
    count = measured.get("seeds", SEEDS)
    return "" if count == SEEDS else f" ({count})"


def markdown_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_page() -> None:
    """Write the tables between the marks of docs/results/recommendation-private.md."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    PAGE.write_text(before + page() + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["--page"]:
        write_page()
    else:
        sys.exit(main(__doc__.splitlines()[0], benchmark))
