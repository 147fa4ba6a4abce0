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


@pytest.mark.slow
def test_interrupted_start_leaves_no_worker(monkeypatch):
    """Workers ignore signals, so that one left behind would keep the program from ending."""
    begun, start = [], WorkerProcesses._start

    def interrupted(engine, specs):
        begun.extend(engine._processes)
        if begun:
            raise KeyboardInterrupt
        start(engine, specs)

    monkeypatch.setattr(WorkerProcesses, "_start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        WorkerProcesses([[SimpleNamespace(name=name, cost=1, build=int)] for name in "ab"])
    assert [process.is_alive() for process in begun] == [False]


def test_parties_are_closed_whatever_happens_to_the_engine():
    closed = []
    party = SimpleNamespace(close=lambda: closed.append("a"))
    spec = SimpleNamespace(name="a", cost=1, build=lambda: party)
    with pytest.raises(RuntimeError, match="lost"), InProcess([spec]):
        raise RuntimeError("lost")
    assert closed == ["a"]
