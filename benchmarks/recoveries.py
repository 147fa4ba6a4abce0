"""One fault after another on a consortium of five; see `faults.py`."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import NamedTuple

from harness import Row
from securefl.consortium.keys.tls_certificates import BROKER as CERTIFICATE
from securefl.consortium.keys.tls_certificates import BROKER_KEY, issue_broker
from securefl.errors import SecureflError
from securefl.federation.services.status import read_any_status
from support.consortium_processes import SECRET
from support.faults.live.stage import LiveStage
from support.faults.schedule import BROKER, HUB

CALM = 4
PATIENCE = {"tick": 0.02}
STILL = 300.0
"""Seconds after which the rounds count as stuck."""
LOOK = 0.2


class Case(NamedTuple):
    """How a fault begins, how it ends, and after how many seconds."""

    begin: Callable[[], object]
    end: Callable[[], object]
    seconds: float = 1.0


def recoveries(only: str = "", note: Callable[[Row], object] = print) -> list[Row]:
    """Measure all recoveries, or those with these words in their names."""
    with (
        tempfile.TemporaryDirectory() as folder,
        LiveStage(Path(folder) / "v", 5, 100_000, PATIENCE, small_store=True) as stage,
    ):
        stage.start_all()
        stage.wait(2, 120)
        found = []
        for name, case in cases_of(stage).items():
            if only in name:
                found.append(recovery(stage, name, case))
                note(found[-1])
        return found


def cases_of(stage: LiveStage) -> dict[str, Case]:
    one = stage.village.names[1]
    everybody = (*stage.village.names, HUB)
    second = stage.village.folder / "run-2"
    return {
        "member killed": killed(stage, one),
        "member killed, back after 45 s": killed(stage, one, seconds=45.0),
        "coordinator killed": killed(stage, HUB),
        "broker killed": Case(stage.broker.kill, stage.start_broker),
        "all members and the coordinator killed": killed(stage, *everybody),
        "member frozen for 20 s": frozen(stage, one),
        "coordinator frozen for 20 s": frozen(stage, HUB),
        "member's disk full for 20 s": full(stage, one, 20.0),
        "coordinator's disk full for 5 s": full(stage, HUB, 5.0),
        "broker's disk full for 20 s": full(stage, BROKER, 20.0),
        "broker's store lost": Case(lambda: lose_store(stage), stage.start_broker),
        "broker's certificate expired for 10 s": Case(
            lambda: certify(stage, days=2), lambda: certify(stage, days=30), 10.0
        ),
        "second process of a member": Case(lambda: stage.start_second(one), idle, 0.0),
        "second coordinator, own folder": Case(lambda: stage.start_second(HUB, second), idle, 0.0),
        "all connections cut for 5 s": Case(stage.line.close, stage.line.reopen, 5.0),
    }


def idle() -> None:
    """Do nothing: the fault ends by itself."""


def killed(stage: LiveStage, *parties: str, seconds: float = 1.0) -> Case:
    return Case(
        lambda: [stage.kill(party) for party in parties],
        lambda: [stage.start(party) for party in parties],
        seconds,
    )


def frozen(stage: LiveStage, party: str) -> Case:
    return Case(lambda: stage.freeze(party), lambda: stage.thaw(party), 20.0)


def full(stage: LiveStage, party: str, seconds: float) -> Case:
    def end() -> None:
        stage.fill(party, full=False)
        time.sleep(0.5)
        if party != BROKER and not stage.alive(party):
            stage.start(party)

    return Case(lambda: stage.fill(party, full=True), end, seconds)


def lose_store(stage: LiveStage) -> None:
    stage.broker.kill()
    for path in stage.store.iterdir():
        shutil.rmtree(path)


def certify(stage: LiveStage, days: int) -> None:
    """Start the broker again, with another certificate that began five days ago."""
    stage.broker.kill()
    folder = stage.village.folder
    for name in (CERTIFICATE, BROKER_KEY):
        (folder / name).unlink()
    issue_broker(folder, ("127.0.0.1",), SECRET, datetime.now(UTC) - timedelta(days=5), days)
    stage.start_broker()


def recovery(stage: LiveStage, name: str, case: Case) -> Row:
    done = stage.done()
    calm = [stage.wait(number, STILL) for number in range(done + 1, done + 1 + CALM)]
    done, began, ended = stage.done(), time.monotonic(), False
    ends: list[float] = []
    says: dict[str, float] = {}
    codes: dict[str, None] = {}
    looked = 0.0
    case.begin()
    while len(ends) < 3 or not ended:
        now = time.monotonic() - began
        if not ended and now >= case.seconds:
            case.end()
            ended = True
        while len(ends) < stage.done() - done:
            ends.append(now)
        if now - looked > LOOK:
            looked = now
            for role, code in named(stage).items():
                says.setdefault(role, now)
                codes.setdefault(code)
        if now > STILL:
            raise AssertionError(f"{name}: the rounds stand still: {stage.tail('hub')}")
        time.sleep(0.02)
    stage.check_sums()
    after = [len(record["survivors"]) for record in records(stage)[done : done + 3]]
    measured = {"next_round": ends[0], "third_round": ends[2], "survivors": str(after)}
    measured |= {f"{role}_says": seconds for role, seconds in says.items()}
    measured |= {"named": ", ".join(codes)}
    return Row(f"recovery: {name}", measured | {"over_calm": ends[0] / median(calm[1:])})


def named(stage: LiveStage) -> dict[str, str]:
    """The fault in the status of the coordinator and of the last member; none where it is down."""
    last = stage.village.names[-1]
    folders = {"coordinator": stage.run, "member": next(stage.state(last).glob("*/"), None)}
    found = {}
    for role, folder in folders.items():
        if folder is not None and stage.alive(HUB if role == "coordinator" else last):
            try:
                faults = read_any_status(folder)["faults"]
            except SecureflError:
                continue
            found |= {role: faults[0]["code"]} if faults else {}
    return found


def records(stage: LiveStage) -> list[dict]:
    lines = (stage.run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


if __name__ == "__main__":
    import sys

    recoveries(*sys.argv[1:])
