"""Nobody is waited for longer than that can help: real processes around a real broker."""

import os
import shutil
import signal
import time
from urllib.request import urlopen

import pytest

from support.brokers import free_port
from support.consortium_processes import (
    found,
    watched_run,
)
from support.nats_cluster import QUICK, FullDisk
from support.small_runs import NETWORK_MEMBERS as NAMES
from support.small_runs import network_config as small

pytestmark = pytest.mark.slow
PATIENT = QUICK | {"step": 60.0, "training": 60.0, "least": 60.0, "give_up": 3600.0}
"""Deadlines as they are by default; silence is noticed sooner."""


def test_a_member_with_a_full_disk_stops_no_round(stage):
    """It says so, and is out at once: no step waits a minute for it."""
    stage.set(rounds=3, patience=PATIENT | {"silence": 30.0})
    begun = time.monotonic()
    stage.start_all(wraps={"member-2": FullDisk(600.0)})
    lines = stage.finish(55)
    assert time.monotonic() - begun < 55
    assert all("member-2" not in line["survivors"] for line in lines)
    assert all(len(line["survivors"]) == 4 for line in lines)
    assert "member-2: its disk" in stage.tail("coordinator")


def test_a_frozen_coordinator_leaves_no_member_out(stage):
    """It stood still for longer than any deadline, and counts that for nobody."""
    scene = stage.set(rounds=5, pause=0.3)
    stage.start_all()
    stage.wait_round(1)
    pid = stage.processes["coordinator"].pid
    os.kill(pid, signal.SIGSTOP)
    time.sleep(12)
    os.kill(pid, signal.SIGCONT)
    for line in stage.finish():
        assert tuple(line["survivors"]) == scene.names


def test_after_two_losses_a_round_waits_no_hour(stage):
    """One comes back as another dies: the round in which they met is given up, and a new one ends.

    The quorum is four of five. Its round can have none, as who comes back is not in it.
    """
    stage.set(rounds=4, pause=0.2, patience=PATIENT | {"silence": 4.0})
    (cable,) = stage.wire("member-1")
    stage.start_all()
    stage.wait_round(1)
    cable.cut()
    stage.wait_round(2)
    stage.processes["member-3"].kill()
    cable.mend()
    last = stage.finish(60)[-1]
    assert set(last["survivors"]) == {"member-0", "member-1", "member-2", "member-4"}


def test_an_emptied_broker_needs_no_other_restart(stage):
    """The coordinator makes the streams again, and asks again what was not answered."""
    scene = stage.set(rounds=6, pause=0.3)
    stage.start_all()
    stage.wait_round(2)
    stage.broker.kill()
    shutil.rmtree(stage.folder / "jetstream")
    stage.broker.start_again()
    for line in stage.finish():
        assert tuple(line["survivors"]) == scene.names
    assert "they are there again" in stage.tail("coordinator")


def test_a_run_shows_its_live_page(tmp_path):
    """From before the first member is there to the end of the run."""
    pytest.importorskip("starlette")
    village, port = found(tmp_path / "village", small(rounds=3), NAMES), free_port()
    seen = watched_run(village, ("--page", port), lambda: looked_at(port), 0.1)
    words = (
        f"verified, {len(NAMES)} members",
        "send masked inputs",
        "retailer-1",
        "of 3 rounds done",
    )
    assert [word for word in words if not any(word in page for page in seen)] == []


def looked_at(port):
    try:
        with urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
            return page.read().decode()
    except OSError:
        return ""
