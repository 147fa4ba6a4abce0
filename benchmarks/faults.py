"""Faults on a consortium of five: how long the rounds stand still, and what a round leaves behind.

A row of *recovery* is one fault on real processes over TLS, with the default patience. `next_round`
is the seconds from the fault to the end of the next round, `third_round` to that of the third, and
`survivors` how many members are in these three sums. `over_calm` is `next_round` over the median of
the rounds of the same run before it. What ended is started again after a second, unless the row
says otherwise. `coordinator_says` and `member_says` are the seconds until the status of the
coordinator, or of a member that nothing was done to, names a fault, and `named` what they name.

A row of *random faults* is a seeded schedule: no sum is wrong and no round is stuck, or the
benchmark ends with an error. `sums equal` counts the sums that were compared with the plain ones.
`longest` is the longest round (virtual seconds in virtual time). Behind it stands how often each
fault happened, and the growth a round, in bytes and open files, over the last two thirds.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path

from harness import Row, main
from recoveries import recoveries
from support.faults.live.play import LivePlay
from support.faults.live.stage import LiveStage
from support.faults.measures import growth
from support.faults.schedule import ON_PROCESSES, random_faults
from support.faults.virtual.play import Play

ROUNDS = 500
PATIENT = {"tick": 0.02, "silence": 10.0, "least": 10.0, "step": 40.0, "training": 60.0}
"""Of random faults on processes: who is killed is back within two seconds, or what they import."""


def rows(quick: bool) -> list[Row]:
    found = virtual(60 if quick else ROUNDS)
    if not quick:
        found += [*live(ROUNDS), *recoveries()]
    return found


def virtual(rounds: int) -> list[Row]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        faults = random_faults(100, rounds, [f"member-{number}" for number in range(5)])
        began = time.process_time()
        found = Play(Path(folder), faults, rounds=rounds, seed=100).run()
        taken = time.process_time() - began
    sizes = [(one.number, one.sizes) for one in found.rounds[rounds // 3 :]]
    figures = {
        "rounds": rounds,
        "sums equal": len(found.rounds),
        "longest": max(one.seconds for one in found.rounds),
        "cpu_seconds": taken,
    }
    return table(f"{rounds} rounds in virtual time", figures, found.happened, growth(sizes))


def live(rounds: int) -> list[Row]:
    with (
        tempfile.TemporaryDirectory() as folder,
        LiveStage(Path(folder) / "v", 5, rounds, PATIENT, small_store=True) as stage,
    ):
        names = stage.village.names
        faults = random_faults(11, rounds, names, longest=12.0, roles=ON_PROCESSES)
        found = LivePlay(stage, faults, 11).run()
    figures = {
        "rounds": rounds,
        "sums equal": len(found.survivors),
        "longest": max(found.seconds),
        "survivors": sum(found.survivors) / rounds,
    }
    grown = growth(found.sizes[rounds // 3 :])
    return table(f"{rounds} rounds on processes", figures, found.happened, grown)


def table(
    name: str, figures: dict[str, float], happened: Counter[str], grown: dict[str, float]
) -> list[Row]:
    """One row of the rounds, one of each fault, one of each growth."""
    everything = figures | {"faults": sum(happened.values())}
    return [
        Row(f"random faults, {name}", everything),
        *(Row(f"{name}: {kind}", {"faults": n}) for kind, n in sorted(happened.items())),
        *(Row(f"{name}: {what}", {"growth a round": by}) for what, by in grown.items()),
    ]


if __name__ == "__main__":
    main("Faults", rows)
