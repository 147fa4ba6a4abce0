from functools import partial
from operator import truediv
from types import SimpleNamespace

import pytest

from securefl.federation.transport.local import InProcess, WorkerCrashedError, WorkerProcesses


def test_a_bug_in_a_worker_reaches_the_coordinator_with_its_traceback(capfd):
    spec = SimpleNamespace(name="a", cost=1, build=partial(truediv, 1, 0))
    with (
        WorkerProcesses([[spec]]) as engine,
        pytest.raises(WorkerCrashedError, match="ZeroDivisionError"),
    ):
        engine.receive(timeout=60)
    assert capfd.readouterr().err == ""


def test_parties_are_closed_whatever_happens_to_the_engine():
    closed = []
    party = SimpleNamespace(close=lambda: closed.append("a"))
    spec = SimpleNamespace(name="a", cost=1, build=lambda: party)
    with pytest.raises(RuntimeError, match="lost"), InProcess([spec]):
        raise RuntimeError("lost")
    assert closed == ["a"]
