"""What a model of known departments is worth in new ones, by how many customers have a past there.

`python benchmarks/transfer.py [--runs DIR]`. Means and sample deviations over three seeds, mode
plain (masks change no sum). `from the source` trains four rounds on the known departments and four
on the new ones, `cold start` the latter alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

from harness import Row, main
from tasks import Runs, row

SHARES = (0.01, 0.05, 0.2, 1.0)
STARTS = {
    "from the source": {"rounds": 8, "source_rounds": 4},
    "cold start": {"rounds": 4, "source_rounds": 0},
}
ARMS = ("naive", "alone", "federated", "pooled")


def benchmark(place: Path | None, workers: int, quick: bool) -> list[Row]:
    options = {"task": "transfer", "mode": "plain", "workers": workers}
    seeds, shares = (range(1), SHARES[1:2]) if quick else (range(3), SHARES)
    if place is not None:
        return rows(Runs(options, seeds, place), shares)
    with tempfile.TemporaryDirectory() as folder:
        return rows(Runs(options, seeds, Path(folder)), shares)


def rows(runs: Runs, shares: tuple[float, ...]) -> list[Row]:
    found = []
    for share in shares:
        for said, start in STARTS.items():
            cuts = {"customers": share, "source_rounds": start["source_rounds"]}
            results = runs.results(rounds=start["rounds"], transfer=cuts)
            found += [row(f"{share:.0%}, {said}: {arm}", results, arm) for arm in ARMS]
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--runs", type=Path, help="where the runs stay")
    parser.add_argument(
        "--workers", type=int, default=0, help="processes a run; 0 takes one a core"
    )
    chosen, sys.argv[1:] = parser.parse_known_args()
    case = partial(benchmark, chosen.runs, chosen.workers)
    sys.exit(main("Transfer between departments", case))
