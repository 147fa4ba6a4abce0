"""Faults on a consortium of five: how long the rounds stand still, and what a round leaves behind.

A row of *recovery* is one fault on real processes over TLS, with the default patience. `next_round`
is the seconds from the fault to the end of the next round, `third_round` to that of the third, and
`survivors` how many members are in these three sums. `over_calm` is `next_round` over the median of
the rounds of the same run before it. What ended is started again after a second, unless the row
says otherwise.

A row of *random faults* is a seeded schedule: no sum is wrong and no round is stuck, or the
benchmark ends with an error. `longest` is the longest round (virtual seconds in virtual time); the
rest is growth a round, in bytes and open files, over the last two thirds.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from harness import Row, main
from support.faults.live.play import LivePlay
from support.faults.live.stage import LiveStage
from support.faults.measures import growth
from support.faults.schedule import HUB, random_faults
from support.faults.virtual.play import Play

CALM = 4
PATIENCE = {"tick": 0.02}


def rows(quick: bool) -> list[Row]:
    found = [virtual(60 if quick else 450)]
    if not quick:
        found += [live(50), *recoveries()]
    return found


def virtual(rounds: int) -> Row:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        faults = random_faults(100, rounds, [f"member-{number}" for number in range(5)])
        began = time.process_time()
        found = Play(Path(folder), faults, rounds=rounds, seed=100).run()
        taken = time.process_time() - began
    sizes = [(one.number, one.sizes) for one in found.rounds[rounds // 3 :]]
    figures = {
        "rounds": rounds,
        "faults": sum(found.happened.values()),
        "cpu_seconds": taken,
        "longest": max(one.seconds for one in found.rounds),
    }
    return Row(f"random faults, {rounds} rounds in virtual time", figures | growth(sizes))


def live(rounds: int) -> Row:
    with tempfile.TemporaryDirectory() as folder, LiveStage(Path(folder) / "v", 5, rounds) as stage:
        faults = random_faults(7, rounds, stage.village.names, longest=8.0)
        found = LivePlay(stage, faults, 7).run()
    figures = {
        "rounds": rounds,
        "faults": sum(found.happened.values()),
        "longest": max(found.seconds),
    }
    return Row(
        f"random faults, {rounds} rounds on processes",
        figures | growth(found.sizes[rounds // 3 :]),
    )


def recoveries() -> list[Row]:
    with (
        tempfile.TemporaryDirectory() as folder,
        LiveStage(Path(folder) / "v", 5, 1000, PATIENCE) as stage,
    ):
        stage.start_all()
        stage.wait(2, 120)
        return [recovery(stage, name, *fault) for name, fault in faults_of(stage).items()]


def faults_of(stage: LiveStage) -> dict[str, tuple[Callable, Callable, float]]:
    """By row: how the fault begins, how it ends, and after how many seconds."""
    one = stage.village.names[1]

    def killed(party: str) -> tuple[Callable, Callable, float]:
        return lambda: stage.kill(party), lambda: stage.start(party), 1.0

    def frozen(party: str, seconds: float) -> tuple[Callable, Callable, float]:
        return lambda: stage.freeze(party), lambda: stage.thaw(party), seconds

    def end_full_hub() -> None:
        stage.fill(HUB, full=False)
        time.sleep(0.5)
        if not stage.alive(HUB):
            stage.start(HUB)

    return {
        "member killed": killed(one),
        "member killed, back after 90 s": (*killed(one)[:2], 90.0),
        "coordinator killed": killed(HUB),
        "broker killed": (stage.broker.kill, stage.broker.start_again, 1.0),
        "member frozen for 20 s": frozen(one, 20.0),
        "coordinator frozen for 20 s": frozen(HUB, 20.0),
        "member's disk full for 20 s": (
            lambda: stage.fill(one, full=True),
            lambda: stage.fill(one, full=False),
            20.0,
        ),
        "coordinator's disk full for 5 s": (
            lambda: stage.fill(HUB, full=True),
            end_full_hub,
            5.0,
        ),
        "second process of a member": (lambda: stage.start_second(one), lambda: None, 0.0),
        "second coordinator, own folder": (
            lambda: stage.start_second(HUB, stage.village.folder / "run-2"),
            lambda: None,
            0.0,
        ),
        "all connections cut for 5 s": (stage.line.close, stage.line.reopen, 5.0),
    }


def recovery(stage: LiveStage, name: str, begin: Callable, end: Callable, seconds: float) -> Row:
    done = stage.done()
    calm = [stage.wait(number, 300) for number in range(done + 1, done + 1 + CALM)]
    done, began, ended, ends = stage.done(), time.monotonic(), False, []
    begin()
    while len(ends) < 3 or not ended:
        now = time.monotonic() - began
        if not ended and now >= seconds:
            end()
            ended = True
        while len(ends) < stage.done() - done:
            ends.append(now)
        if now > 900:
            raise AssertionError(f"{name}: the rounds stand still: {stage.tail('hub')}")
        time.sleep(0.02)
    stage.check_sums()
    after = [len(record["survivors"]) for record in records(stage)[done : done + 3]]
    measured = {"next_round": ends[0], "third_round": ends[2], "survivors": str(after)}
    return Row(f"recovery: {name}", measured | {"over_calm": ends[0] / median(calm[1:])})


def records(stage: LiveStage) -> list[dict]:
    lines = (stage.run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


if __name__ == "__main__":
    main("Faults", rows)
