"""Masked rounds of five members over Flower, d = 200,000; needs the extra `flower`.

Once over a grid in this process, whose nodes are threads: what our own part takes, with a process
of its own for each member. Once over Flower's simulation engine, where its `ray` is installed. And,
without --quick, one round over a SuperLink and SuperNodes on loopback, where a node looks for
messages every three seconds and starts a process for each. Each row has what messages with nothing
in them take over the same nodes: that is Flower's own part of a step.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from harness import Row, main
from securefl.config.load import load_config
from securefl.config.schema import RunConfig
from securefl.errors import RunDirectoryError
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.services.status import read_status

NAMES = tuple(f"retailer-{number}" for number in range(5))
ITEMS, DIM = 6_000, 32
TURNS = 5
FIRST_STEP = "train, or send keys"


def config(rounds: int) -> RunConfig:
    data = {"source": "tutorial", "retailers": 5, "customers": 40, "items": ITEMS}
    model = {"name": "rating-ncf", "dim": DIM, "hidden": 64}
    tree = {"task": "recommendation", "mode": "secure", "rounds": rounds, "model": model}
    return load_config(None, tree | {"data": data | {"interactions": [300, 600]}})


class Steps:
    """The steps of a run's rounds, as its status shows them one after the other."""

    def __init__(self, run: Path, stack: ExitStack) -> None:
        self.run, self._found, self._over = run, {}, threading.Event()
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(self._over.set)

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            with suppress(RunDirectoryError):  # none is written yet, or one is being written
                self._found |= {step["began"]: step for step in read_status(self.run)["steps"]}

    def rounds(self) -> list[list[float]]:
        """When the steps of each round began, and last the next round's first one."""
        begins = sorted(self._found.copy())
        firsts = [at for at, b in enumerate(begins) if self._found[b]["step"] == FIRST_STEP]
        return [begins[a : b + 1] for a, b in pairwise(firsts)]

    def row(self, case: str, empty: list[float]) -> Row:
        """Seconds of a round, of its steps, and of an empty message to all nodes and back."""
        rounds = self.rounds()
        seconds = [b - a for begins in rounds for a, b in pairwise(begins)]
        a_round = median(begins[-1] - begins[0] for begins in rounds)
        steps = median(len(begins) - 1 for begins in rounds)
        return Row(
            case,
            {
                "members": len(NAMES),
                "d": RunDirectory.open(self.run).start_path.stat().st_size // 4,
                "rounds": len(rounds),
                "s a round": a_round,
                "steps a round": steps,
                "s a step": median(seconds),
                "s an empty message": median(empty),
                "step : empty": median(seconds) / median(empty),
                "s a round without Flower's part": a_round - steps * median(empty),
            },
        )


def over_a_grid(folder: Path, rounds: int) -> Row:
    from support.flower_grid import LoopGrid, found, looped
    from support.flower_probe import client, turns

    group = found(folder / "loop", config(rounds), NAMES)
    with ExitStack() as stack:
        steps = Steps(group.folder / "run", stack)
        looped(group)
        grid = LoopGrid([(client, {}) for _ in NAMES], stack)
        empty = turns(grid, len(NAMES), TURNS)
        return steps.row("a grid in one process", empty)


def over_the_simulation(folder: Path, rounds: int) -> Row:
    from support.flower_grid import found, simulated

    group = found(folder / "simulation", config(rounds), NAMES)
    with ExitStack() as stack:
        steps = Steps(group.folder / "run", stack)
        empty = simulated(group, TURNS)
        return steps.row("Flower's simulation engine", empty)


def over_supernodes(folder: Path) -> list[Row]:
    """One round, and no more of the run: what follows it takes as long again."""
    from support.flower_cluster import Cluster
    from support.flower_grid import found

    group = found(folder / "nodes", config(2), NAMES)
    with ExitStack() as stack:
        cluster = Cluster(folder / "flower", stack)
        cluster.open([group.socket(name) for name in NAMES])
        empty = cluster.round_trips(len(NAMES), TURNS)
        alone = [cluster.round_trips(1, TURNS, ahead) for ahead in (0, 1)]
        for name in NAMES:
            cluster.member(group, name)
        cluster.run(group.hub)
        steps = Steps(group.folder / "run", stack)
        while not steps.rounds():
            time.sleep(0.5)
        rows = [steps.row("SuperLink and SuperNodes", empty)]
    return rows + [
        Row(f"one node, {name}", {"s an empty message": median(found)})
        for name, found in zip(("alone", "with a message behind"), alone, strict=True)
    ]


def benchmark(quick: bool) -> list[Row]:
    with TemporaryDirectory() as name:
        folder, rounds = Path(name), 3 if quick else 6
        rows = [over_a_grid(folder, rounds)]
        if find_spec("ray") is not None:
            rows.append(over_the_simulation(folder, rounds))
        return rows if quick else [*rows, *over_supernodes(folder)]


if __name__ == "__main__":
    main("Rounds over Flower", benchmark)
