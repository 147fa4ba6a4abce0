"""Twelve months on the real data: each month warm, from last month's model, against cold.

Five retailers; the first run has months 1 to 6, and then one run a month with all data until then.
Warm goes on from last month's warm model (`securefl run --from`), cold begins anew; both have the
same few rounds, the same settings and, under a budget, the same budget a month. Models are small
and rounds few, so that the replay ends: the figures compare warm with cold, and are no measure of
what the task reaches. `earlier` is last month's model on this month's cases; `life` is epsilon
over all months so far, as each retailer's ledger composes it. Every run's line is kept in
`results/next_months.jsonl` with the digest of the code, and is not run again.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import Row, main
from securefl.config.load import load_config
from securefl.config.schema import RunConfig
from securefl.consortium.ledger.digests import code_digest
from securefl.consortium.ledger.paths import LedgerPaths
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.result import RunResult
from securefl.federation.runs.run import run
from securefl.tasks.served.starting import started_from

KEPT = Path(__file__).parent / "results" / "next_months.jsonl"
PAGE = Path(__file__).parent.parent / "docs" / "howto" / "using-the-model.md"
BEGIN, END = "<!-- next months: begin -->", "<!-- next months: end -->"
FIRST, LAST, ROUNDS = 6, 12, 3
MODELS: dict[str, dict[str, Any]] = {
    "recommendation, no budget": {"model": {"name": "mf", "dim": 16}},
    "churn, epsilon 2 a month": {
        "task": "churn",
        "privacy": {"dp": "local", "epsilon": 2.0},
        "churn": {"horizon_weeks": 4, "training_cutoffs": 2},
    },
}
SHOWN = {
    "recommendation, no budget": {"hr@10": "HR@10", "ndcg@10": "NDCG@10"},
    "churn, epsilon 2 a month": {"auc": "AUC", "log_loss": "log loss"},
}
Line = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One run: under which protection, with the data until which month, and from where."""

    protection: str
    month: int
    warm: bool

    @property
    def key(self) -> str:
        return f"{self.protection}, month {self.month}, {'warm' if self.warm else 'cold'}"

    @property
    def config(self) -> RunConfig:
        weeks = [2, round(1 + 52 * self.month / 12)]
        tree = {"rounds": ROUNDS, "data": {"weeks": weeks}, "references": {"enabled": False}}
        return load_config(None, {**tree, "engine": {"workers": 1}, **MODELS[self.protection]})


def cases(quick: bool) -> Iterator[Case]:
    """All runs, each warm one behind the one that it goes on from."""
    last = FIRST + 1 if quick else LAST
    for protection in list(MODELS)[: 1 if quick else None]:
        yield Case(protection, FIRST, warm=False)
        for month in range(FIRST + 1, last + 1):
            yield Case(protection, month, warm=True)
            yield Case(protection, month, warm=False)


def benchmark(quick: bool) -> list[Row]:
    """Run what was not run yet; a chain that was begun is begun anew, as its models are gone."""
    kept = {} if quick else read()
    chosen = list(cases(quick))
    with tempfile.TemporaryDirectory() as folder:
        for case in chosen:
            chain = [one for one in chosen if one.protection == case.protection]
            if all(one.key in kept for one in chain):
                continue
            line = measured(case, Path(folder))
            kept[case.key] = line
            print(json.dumps(line), file=sys.stderr, flush=True)
            if not quick:
                with KEPT.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
    return [Row(line["case"], line) for line in kept.values()]


def read() -> dict[str, Line]:
    """The lines of runs that are done, by name; of a repeated one, the last."""
    if not KEPT.exists():
        return {}
    lines = [json.loads(line) for line in KEPT.read_text(encoding="utf-8").splitlines()]
    return {line["case"]: line for line in lines}


def measured(case: Case, folder: Path) -> Line:
    """One run's line; the ledgers of warm and cold months are two lives of the same data."""
    first = case.month == FIRST
    before = Case(case.protection, case.month - 1, warm=case.month - 1 > FIRST)
    config = case.config
    if case.warm:
        config = started_from(config, folder / before.key)
    life = "first" if first else "warm" if case.warm else "cold"
    books = folder / case.protection / life
    if not first and not books.exists():
        books.mkdir(parents=True)
        for file in (folder / case.protection / "first").iterdir():
            (books / file.name).write_bytes(file.read_bytes())
    places = LedgerPaths(books=books)
    started = time.process_time()
    result = run(RunDirectory.create(folder / case.key, config, places))
    spent = {"cpu seconds": round(time.process_time() - started, 1)}
    return {"case": case.key, "code": code_digest()[:12]} | spent | figures(case, result)


def figures(case: Case, result: RunResult) -> Line:
    found: Line = {}
    for arm, metrics in result.metrics.items():
        found |= {f"{arm} {name}": round(metrics[name], 4) for name in SHOWN[case.protection]}
    if result.start is not None:
        found |= {"products": result.start.products, "new": result.start.new}
    if result.privacy is not None:
        found["epsilon"] = round(result.privacy.largest_epsilon, 3)
        found["life"] = round(max(member.life for member in result.privacy.members), 3)
    return found


# -- the page --------------------------------------------------------------------------------------


def page() -> str:
    """A table for each protection: a month a row."""
    lines = read()
    codes = ", ".join(sorted({line["code"] for line in lines.values()}))
    tables = [table(protection, lines) for protection in MODELS]
    shown = [found for found in tables if found.count("\n") > 1]
    return "\n\n".join([BEGIN, f"{ROUNDS} rounds each; code {codes}.", *shown, END])


def table(protection: str, lines: dict[str, Line]) -> str:
    names = SHOWN[protection].values()
    arms = [f"{arm} {label}" for label in names for arm in ("earlier", "warm", "cold")]
    head = [protection, "new products", *arms, "warm, CPU s", "cold, CPU s"]
    if "privacy" in MODELS[protection]:
        head += ["epsilon", "over life"]
    rows = []
    for month in range(FIRST + 1, LAST + 1):
        pair = [lines.get(Case(protection, month, warm=warm).key) for warm in (True, False)]
        if pair[0] is not None and pair[1] is not None:
            rows.append(row(protection, month, pair[0], pair[1]))
    return "\n".join(
        "| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)
    )


def row(protection: str, month: int, warm: Line, cold: Line) -> list[str]:
    known = f"{warm['new']} of {warm['products']}" if warm["products"] else "none in the model"
    cells = [f"month {month}", known]
    for name in SHOWN[protection]:
        values = warm[f"earlier {name}"], warm[f"federated {name}"], cold[f"federated {name}"]
        cells += [f"{value:.3f}" for value in values]
    cells += [f"{one['cpu seconds']:.0f}" for one in (warm, cold)]
    if "epsilon" in warm:
        cells += [f"{warm['epsilon']:.2f}", f"{warm['life']:.2f}"]
    return cells


def write_page() -> None:
    """Put the tables where the page keeps a place for them."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    PAGE.write_text(before + page() + rest.split(END)[1], encoding="utf-8")


def rows_and_page(quick: bool) -> Sequence[Row]:
    found = benchmark(quick)
    if not quick:
        write_page()
    return found


if __name__ == "__main__":
    main("Next month, warm against cold", rows_and_page)
