"""Masked rounds of five members over Flower, d = 200,000; needs the extra `flower`.

Once over a grid in this process, whose nodes are threads: what our own part takes, with a process
of its own for each member. Once over Flower's simulation engine, where its `ray` is installed. And,
without --quick, one round over a SuperLink and SuperNodes on loopback, where a node looks for
messages every three seconds and starts a process for each. Each row has what messages with nothing
in them take over the same nodes: that is Flower's own part of a step.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from harness import Row, main
from securefl.config.load import load_config
from securefl.config.schema import RunConfig
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.services.status import has_status, read_status

NAMES = tuple(f"retailer-{number}" for number in range(5))
ITEMS, DIM = 6_000, 32
TURNS = 5


def config(rounds: int) -> RunConfig:
    data = {"source": "tutorial", "retailers": 5, "customers": 40, "items": ITEMS}
    model = {"name": "rating-ncf", "dim": DIM, "hidden": 64}
    tree = {"task": "recommendation", "mode": "secure", "rounds": rounds, "model": model}
    return load_config(None, tree | {"data": data | {"interactions": [300, 600]}})


def row(case: str, run: Path, steps: list[dict], a_round: float, empty: list[float]) -> Row:
    """Seconds of a round, of its steps, and of an empty message to all nodes and back."""
    seconds = [step["ended"] - step["began"] for step in steps if step["ended"]]
    flower = len(seconds) * median(empty)
    return Row(
        case,
        {
            "members": len(NAMES),
            "d": RunDirectory.open(run).start_path.stat().st_size // 4,
            "s a round": a_round,
            "steps a round": len(seconds),
            "s a step": median(seconds),
            "s an empty message": median(empty),
            "step : empty": median(seconds) / median(empty),
            "s a round without Flower's part": a_round - flower,
        },
    )


def ended(case: str, run: Path, empty: list[float]) -> Row:
    """The row of a run that has ended; its rounds are those between two verified sums."""
    status = read_status(run)
    sums = [fact["at"] for fact in status["sums"]]
    return row(case, run, status["steps"], median(b - a for a, b in pairwise(sums)), empty)


def over_a_grid(folder: Path, rounds: int) -> Row:
    from support.flower_grid import LoopGrid, found, looped
    from support.flower_probe import client, turns

    group = found(folder / "loop", config(rounds), NAMES)
    looped(group)
    with ExitStack() as stack:
        grid = LoopGrid([(client, {}) for _ in NAMES], stack)
        empty = turns(grid, len(NAMES), TURNS)
    return ended("a grid in one process", group.folder / "run", empty)


def over_the_simulation(folder: Path, rounds: int) -> Row:
    from support.flower_grid import found, simulated

    group = found(folder / "simulation", config(rounds), NAMES)
    empty = simulated(group, TURNS)
    return ended("Flower's simulation engine", group.folder / "run", empty)


def over_supernodes(folder: Path) -> list[Row]:
    """One round, and no more of the run: what follows it takes as long again."""
    from support.flower_cluster import Cluster
    from support.flower_grid import found

    group = found(folder / "nodes", config(2), NAMES)
    run, steps, began = group.folder / "run", [], [0.0, 0.0]
    with ExitStack() as stack:
        cluster = Cluster(folder / "flower", stack)
        cluster.open([group.socket(name) for name in NAMES])
        empty = cluster.round_trips(len(NAMES), TURNS)
        alone = [cluster.round_trips(1, TURNS, ahead) for ahead in (0, 1)]
        for name in NAMES:
            cluster.member(group, name)
        cluster.run(group.hub)
        while not began[1]:
            time.sleep(0.1)
            status = read_status(run) if has_status(run) else {"round": 0}
            if status["round"] and status["steps"]:
                began[status["round"] - 1] = status["steps"][0]["began"]
                steps = status["steps"] if status["round"] == 1 else steps
    nodes = [
        Row(f"one node, {name}", {"s an empty message": median(found)})
        for name, found in zip(("alone", "with a message behind"), alone, strict=True)
    ]
    return [row("SuperLink and SuperNodes", run, steps, began[1] - began[0], empty), *nodes]


def benchmark(quick: bool) -> list[Row]:
    with TemporaryDirectory() as name:
        folder, rounds = Path(name), 3 if quick else 6
        rows = [over_a_grid(folder, rounds)]
        if find_spec("ray") is not None:
            rows.append(over_the_simulation(folder, rounds))
        return rows if quick else [*rows, *over_supernodes(folder)]


if __name__ == "__main__":
    main("Rounds over Flower", benchmark)
