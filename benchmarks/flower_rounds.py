"""Masked rounds of five members over Flower, d = 200,000; needs the extra `flower`.

Once over a grid in this process, whose nodes are threads: what our own part takes, with a process
of its own for each member. And, without --quick, over a SuperLink and SuperNodes on loopback, where
a node looks for messages every three seconds and starts a process for each.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from harness import Row, main
from securefl.config.load import load_config
from securefl.config.schema import RunConfig
from securefl.federation.runs.directory import RunDirectory

NAMES = tuple(f"retailer-{number}" for number in range(5))
ITEMS, DIM = 6_000, 32


def config(rounds: int) -> RunConfig:
    data = {"source": "tutorial", "retailers": 5, "customers": 40, "items": ITEMS}
    model = {"name": "rating-ncf", "dim": DIM, "hidden": 64}
    tree = {"task": "recommendation", "mode": "secure", "rounds": rounds, "model": model}
    return load_config(None, tree | {"data": data | {"interactions": [300, 600]}})


def row(case: str, run: Path, seconds: float) -> Row:
    """Seconds from one verified sum to the next, and of the steps of the last round."""
    status = json.loads((run / "status.json").read_text("utf-8"))
    ends = [fact["at"] for fact in status["sums"]]
    steps = [step["ended"] - step["began"] for step in status["steps"] if step["ended"]]
    return Row(
        case,
        {
            "members": len(NAMES),
            "d": RunDirectory.open(run).start_path.stat().st_size // 4,
            "s a round": median(b - a for a, b in pairwise(ends)),
            "steps a round": len(steps),
            "s a step": median(steps),
            "s in all": seconds,
        },
    )


def over_a_grid(folder: Path, rounds: int) -> Row:
    from support.flower_grid import found, looped

    group, started = found(folder / "loop", config(rounds), NAMES), time.perf_counter()
    looped(group)
    return row("a grid in one process", group.folder / "run", time.perf_counter() - started)


def over_supernodes(folder: Path, rounds: int) -> Row:
    from support.flower_cluster import Cluster
    from support.flower_grid import found

    group = found(folder / "nodes", config(rounds), NAMES)
    with ExitStack() as stack:
        cluster, started = Cluster(folder / "flower", stack), time.perf_counter()
        cluster.open([group.socket(name) for name in NAMES])
        members = [cluster.member(group, name) for name in NAMES]
        cluster.run(group.hub)
        for process in members:
            process.wait()
        return row("SuperLink and SuperNodes", group.folder / "run", time.perf_counter() - started)


def benchmark(quick: bool) -> list[Row]:
    with TemporaryDirectory() as name:
        rows = [over_a_grid(Path(name), 3 if quick else 6)]
        return rows if quick else [*rows, over_supernodes(Path(name), 2)]


if __name__ == "__main__":
    main("Rounds over Flower", benchmark)
