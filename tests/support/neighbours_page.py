"""All rows of `neighbours`, run in any number of processes, and their table in one-unit.md.

`python -m support.neighbours_page run` runs the rows that no process has begun, and keeps each as
a line with the digest of the code; several processes share the work. `... write` writes the table.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from securefl.consortium.ledger.digests import code_digest
from support.neighbours import PATHS, REFUSED, Case, cases, largest
from support.paths import ROOT, page

KEPT = ROOT / "benchmarks" / "results" / "neighbours.jsonl"
PAGE = page("one-unit.md")
BEGIN, END = "<!-- neighbours: begin -->", "<!-- neighbours: end -->"
CUSTOMERS = 2
"""Customers who are always there; `test_neighbours.py` has six."""
Line = Mapping[str, Any]


def name_of(case: Case, weights: str) -> str:
    return "/".join((case.task, case.model, case.unit, case.dp, case.path, weights))


def every_row() -> Iterator[tuple[Case, str]]:
    """Yield each case under the agreed and under hostile weights."""
    for case in cases():
        for weights in ("agreed",) if case.path == "series" else ("agreed", "hostile"):
            yield case, weights


def run_rows(claims: Path) -> None:
    """Run the rows that are not claimed; a claim is a file of the row's name."""
    claims.mkdir(exist_ok=True)
    for case, weights in every_row():
        name = name_of(case, weights)
        try:
            os.close(os.open(claims / name.replace("/", "+"), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        found = largest(case, customers=CUSTOMERS, hostile=weights == "hostile")
        others = None if math.isnan(found.others) else float(found.others)
        line = {"row": name, "ratio": found.ratio, "others": others, "where": found.where}
        with KEPT.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line | {"code": code_digest()[:12]}) + "\n")


def read_lines() -> dict[str, Line]:
    lines = [json.loads(line) for line in KEPT.read_text(encoding="utf-8").splitlines()]
    return {line["row"]: line for line in lines}


def table(lines: Mapping[str, Line]) -> str:
    """Return one row a task, model, unit and mechanism, with the largest of both weights."""
    head = ("task", "model", "unit", "mechanism", *PATHS, "others")
    rows = [f"| {' | '.join(head)} |", "|---|---|---|---|---:|---:|---:|---:|"]
    found: dict[tuple[str, ...], dict[str, list[Line]]] = {}
    for name, line in lines.items():
        *case, path, _ = name.split("/")
        found.setdefault(tuple(case), {}).setdefault(path, []).append(line)
    for case, paths in found.items():
        whole = [line for name, of in paths.items() if name not in PATHS for line in of]
        cells = [_ratio(paths.get(path, whole)) for path in PATHS]
        moved = [line["others"] for of in paths.values() for line in of]
        rows.append(f"| {' | '.join((*case, *cells, _others(moved)))} |")
    return "\n".join(rows)


def _ratio(lines: Sequence[Line]) -> str:
    if not lines:
        return "not run"
    if all(line["where"] == REFUSED for line in lines):
        return REFUSED
    return f"{max(line['ratio'] for line in lines):.7f}"


def _others(moved: Sequence[float | None]) -> str:
    known = [one for one in moved if one is not None]
    return f"{max(known):.1g}" if known else "-"


def page() -> str:
    """Return the lines between the marks of the page."""
    lines = read_lines()
    total, codes = sum(1 for _ in every_row()), sorted({line["code"] for line in lines.values()})
    says = f"{len(lines)} of {total} rows of the comparison, code {', '.join(codes)}."
    return f"{BEGIN}\n{says}\n\n{table(lines)}\n{END}"


def write_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    PAGE.write_text(before + page() + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run_rows(KEPT.with_suffix(".claims")) if sys.argv[1:] == ["run"] else write_page())
