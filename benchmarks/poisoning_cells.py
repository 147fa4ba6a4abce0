"""Cells of `poisoning.py`, one seed at a time, merged into its result: a table takes hours at once.

    python benchmarks/poisoning_cells.py measure "ranking, none" 1 seed-1.json
    python benchmarks/poisoning_cells.py measure played 1 played-1.json
    python benchmarks/poisoning_cells.py merge *.json

A cell is measured as `poisoning.py` measures it, but that the harm of a round that is rejected is
not scored with `--votes-only`: it does not depend on the votes, and a row that lacks it keeps that
of the result before. Rows of a merged cell replace those of the same name; seeds that are none of
the benchmark's own are rows of their own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness import Row
from pages import RESULTS
from poisoning import SEEDS, case_rows, played_rows, played_runs, voted

KEPT = RESULTS / "poisoning.json"
PLAYED = "played"


def measured(cell: str, seed: int, *, harms: bool) -> list[dict[str, Any]]:
    """Return what one seed of a cell gives."""
    if cell == PLAYED:
        return played_runs(seed)
    task, _, privacy = cell.partition(", ")
    one = voted(task, privacy, seed, harms=harms)
    del one["seen"]  # figures behind the ballots, of which a table has none
    return [one]


def merged_rows(outcomes: Sequence[dict[str, Any]]) -> list[Row]:
    """Return the rows of all outcomes; seeds that are none of the benchmark have their own."""
    rows = played_rows([one for one in outcomes if "name" in one])
    votes = [one for one in outcomes if "case" in one]
    own = [one for one in votes if one["seed"] in SEEDS]
    more = [one for one in votes if one["seed"] not in SEEDS]
    word = " and ".join(str(seed) for seed in sorted({one["seed"] for one in more}))
    named = [
        Row(row.case.replace(":", f", seeds {word}:", 1), row.measured) for row in case_rows(more)
    ]
    return rows + case_rows(own) + named


def merge(rows: Sequence[Row], result: dict[str, Any]) -> dict[str, Any]:
    """Return a result with these rows in it."""
    old = {row["case"]: row for row in result["rows"]}
    for row in rows:
        before = old.get(row.case, {})
        kept = {"harm": before["harm"]} if "harm" in before else {}
        old[row.case] = row.as_json() | ({} if "harm" in row.measured else kept)
    return result | {"rows": list(old.values())}


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(type(value).__name__)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("measure")
    one.add_argument("cell")
    one.add_argument("seed", type=int)
    one.add_argument("file", type=Path)
    one.add_argument("--votes-only", action="store_true")
    verbs.add_parser("merge").add_argument("files", type=Path, nargs="+")
    options = parser.parse_args()
    if options.verb == "measure":
        found = measured(options.cell, options.seed, harms=not options.votes_only)
        options.file.write_text(json.dumps(found, default=_plain), encoding="utf-8")
        return
    outcomes = [one for file in options.files for one in json.loads(file.read_text("utf-8"))]
    result = merge(merged_rows(outcomes), json.loads(KEPT.read_text("utf-8")))
    KEPT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
