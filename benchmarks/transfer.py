"""What a model of known departments is worth in new ones, by how many customers have a past there.

`python benchmarks/transfer.py [--runs DIR]`. Means and sample deviations over three seeds of the
same customers, mode plain (masks change no sum). `from the source` trains four rounds on the known
departments and four on the new ones, `cold start` the latter alone.
"""

from __future__ import annotations

from pathlib import Path

from harness import Row
from tasks import Runs, kept, row

SHARES = (0.01, 0.05, 0.2, 1.0)
STARTS = {
    "from the source": {"rounds": 8, "source_rounds": 4},
    "cold start": {"rounds": 4, "source_rounds": 0},
}
ARMS = ("naive", "alone", "federated", "pooled")


def benchmark(place: Path, workers: int, quick: bool) -> list[Row]:
    options = {"task": "transfer", "mode": "plain", "workers": workers}
    if quick:
        return rows(Runs({**options, "data": "tutorial"}, range(1), place), SHARES[2:])
    return rows(Runs(options, range(3), place), SHARES)


def rows(runs: Runs, shares: tuple[float, ...]) -> list[Row]:
    found = []
    for share in shares:
        for said, start in STARTS.items():
            cuts = {"customers": share, "source_rounds": start["source_rounds"]}
            results = runs.results(rounds=start["rounds"], transfer=cuts)
            found += [row(f"{share:.0%}, {said}: {arm}", results, arm) for arm in ARMS]
    return found


if __name__ == "__main__":
    kept("Transfer between departments", benchmark)
