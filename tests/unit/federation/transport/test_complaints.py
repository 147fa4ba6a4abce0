"""A broker that is away for an hour: a log that says so, and not fourteen thousand times."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from securefl.federation.transport.nats.complaints import Complaints
from securefl.federation.transport.nats.connection import NatsClient


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass as the test says."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def said(caplog):
    return [record.getMessage() for record in caplog.records]


def test_an_hour_of_tries_is_a_few_lines(clock, caplog):
    complaints = Complaints()
    for _ in range(4 * 3600):
        complaints.say("refused")
        clock[0] += 0.25
    lines = said(caplog)
    assert len(lines) == 11
    assert lines[:3] == [
        "broker: refused",
        "broker: refused; still so after 10 s",
        "broker: refused; still so after 30 s",
    ]
    assert complaints.last == "refused"


def test_another_complaint_and_the_next_one_are_said_at_once(clock, caplog):
    complaints = Complaints()
    for _ in range(3):
        complaints.say("refused")
        complaints.say("no such name")
    assert said(caplog) == ["broker: refused", "broker: no such name"]
    complaints.over()
    assert not complaints.last
    complaints.say("refused")
    assert said(caplog)[2:] == ["broker: refused"]


def test_texts_that_always_differ_are_not_kept(clock):
    complaints = Complaints()
    for number in range(1000):
        complaints.say(f"refused {number}")
    assert len(complaints._told) == 16


def test_a_connection_that_is_refused_says_so_once(caplog):
    """What the library calls at each of its tries."""
    link = SimpleNamespace(said_wrong=[], connected=True, _complaints=Complaints())
    for _ in range(3):
        asyncio.run(NatsClient._on_error(link, ConnectionRefusedError("refused")))
    assert len(link.said_wrong) == 3
    assert len(said(caplog)) == 1
