"""Two hundred secure rounds while somebody is killed every few seconds."""

import json
import random
import time
from pathlib import Path

import pytest

ROUNDS = 200


def megabytes(process):
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def wait_a_while(stage, seconds):
    """So many seconds, or the time of a few rounds, which a quick machine does in less."""
    until, enough = time.monotonic() + seconds, len(stage.lines()) + ROUNDS // 30
    while time.monotonic() < until and len(stage.lines()) < enough:
        time.sleep(0.05)


@pytest.mark.slow
def test_two_hundred_rounds_with_random_kills(stage):
    draw, scene = random.Random(6), stage.set(rounds=ROUNDS, dimension=20_000)
    began = time.monotonic()
    stage.start_all()
    stage.wait_round(1)
    kills, until = 0, time.monotonic() + 1500
    memory = {"coordinator": [], "members": [], "broker": []}
    while stage.processes["coordinator"].exitcode is None and time.monotonic() < until:
        wait_a_while(stage, draw.uniform(1.0, 4.0))
        victim = draw.choice([*scene.names, "coordinator"])
        process = stage.processes[victim]
        if process.exitcode is not None or len(stage.lines()) >= ROUNDS - 2:
            continue
        done = len(stage.lines())
        for name, other in stage.processes.items():
            role = "coordinator" if name == "coordinator" else "members"
            memory[role].append((done, megabytes(other)))
        memory["broker"].append((done, megabytes(stage.broker)))
        process.kill()
        process.join()
        kills += 1
        time.sleep(draw.uniform(0.0, 1.0))
        stage.start(victim)
    stage.finish(60)
    figures = {"kills": kills, "seconds": time.monotonic() - began}
    for role, sizes in memory.items():
        early = [size for done, size in sizes if ROUNDS // 10 < done < ROUNDS // 3]
        late = [size for done, size in sizes if done > ROUNDS * 3 // 4]
        figures[role] = [round(max(early)), round(max(late))]
    (stage.folder / "soak.json").write_text(json.dumps(figures))
    assert kills >= 20
    for role in memory:
        early, late = figures[role]
        assert late < early * 1.1 + 20, (role, figures)
