import io
import re

import pytest
from rich.console import Console

from securefl.federation.coordinator.rounds import RoundRecord
from securefl_cli.rendering.clock import RemainingTime, clock
from securefl_cli.rendering.live import LiveProgress


def record(number):
    return RoundRecord(number, ("a",), ("a",), 1.25, {"hr@10": 0.25}, best=True, seconds=1.0)


def plain(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def drawn(width=80, fail=None):
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=width, highlight=False)
    with LiveProgress(console) as live:
        live.stage("Loading and partitioning the data")
        live.begin(1, 3)
        live.round(record(2))
        if fail:
            raise fail
        live.round(record(3))
        live.stage("Comparing with each retailer alone and with all data in one place")
    return plain(stream.getvalue())


def test_what_is_over_stays_as_a_line():
    lines = [line.strip() for line in re.split(r"[\r\n]+", drawn())]
    assert "Loading and partitioning the data  0:00" in lines
    assert "Round 3/3  loss 1.2500  HR@10 0.250  0:00" in lines
    assert "Comparing with each retailer alone and with all data in one place  0:00" in lines


def test_the_moving_line_has_round_loss_metric_and_time_left():
    assert re.search(r"Round 2/3  loss 1\.2500  HR@10 0\.250  left 0:0\d", drawn())


def test_no_line_is_wider_than_the_terminal():
    assert max(map(len, re.split(r"[\r\n]+", drawn(80)))) <= 80


def test_a_failure_leaves_the_terminal_usable():
    with pytest.raises(RuntimeError, match="broken"):
        drawn(fail=RuntimeError("broken"))


def test_the_time_left_is_what_the_rounds_so_far_took(monkeypatch):
    now = iter([100.0, 110.0, 130.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    left = RemainingTime()
    assert left.after(4) == 40.0
    assert left.after(3) == 45.0


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3723, "1:02:03")])
def test_clock(seconds, text):
    assert clock(seconds) == text
