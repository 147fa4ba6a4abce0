"""The run loop calls its hooks and writes a round down in the order that a restart relies on."""

from contextlib import suppress

import pytest

from securefl.errors import SecureflError
from securefl.federation.aggregation.secure import RoundFailedError, SecureAggregator
from securefl.federation.coordinator import rounds
from securefl.federation.coordinator.ledger_recorder import Recorder
from securefl.federation.coordinator.rounds import Federation
from securefl.federation.runs.checkpoint import write_checkpoint
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.loop import Hooks
from securefl.federation.runs.run import SimulationHooks, run
from securefl.federation.transport.base import DeadlineExceeded
from securefl.federation.transport.exchange import MemberFailedError

ROUND = [
    "begin_round",
    "attempt",
    "save_members",
    "members_saved",
    "save_round",
    "round_saved",
    "before_ledger",
    "conclude",
]
CLOSING = ["rounds_ended", "before_closing", "before_ledger", "finish", "ended"]


@pytest.fixture
def calls(monkeypatch):
    """The names of what is called in a run: every hook, and every durable write."""
    made = []

    def noted(name, call):
        def noting(*arguments, **named):
            made.append(name)
            return call(*arguments, **named)

        return noting

    durable = (
        (Federation, "save_members"),
        (RunDirectory, "save_round"),
        (Recorder, "conclude"),
        (Recorder, "finish"),
    )
    hooks = [(SimulationHooks, name) for name in vars(Hooks) if not name.startswith("_")]
    for owner, name in (*durable, *hooks):
        monkeypatch.setattr(owner, name, noted(name, getattr(owner, name)))
    return made


def test_a_round_is_made_durable_in_this_order(calls, small_run):
    small_run(rounds=2)
    assert calls == ["restore", *ROUND, *ROUND, *CLOSING]


def test_a_restart_concludes_the_last_round_again(calls, tmp_path, small_config, monkeypatch):
    """A run that is killed behind its checkpoint has no entry of the round in the ledger yet."""
    directory = RunDirectory.create(tmp_path / "run", small_config(rounds=2))
    save = RunDirectory.save_round

    def save_and_die(self, record, state):
        save(self, record, state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "save_round", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            run(directory)
    assert calls == ["restore", *ROUND[: ROUND.index("save_round") + 1]]
    calls.clear()
    run(RunDirectory.open(directory.path))
    assert calls == ["restore", "before_ledger", "conclude", *ROUND, *CLOSING]


@pytest.mark.parametrize("written", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_kill_beside_the_checkpoint_is_resumed(written, tmp_path, small_config, monkeypatch):
    """Killed just before or just after the second checkpoint, a run ends with the same rounds."""
    whole = RunDirectory.create(tmp_path / "whole", small_config())
    begun = RunDirectory.create(tmp_path / "begun", small_config())
    run(whole)

    def die(path, state, run_digest):
        if state.round < 2 or written:
            write_checkpoint(path, state, run_digest)
        if state.round == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("securefl.federation.runs.directory.write_checkpoint", die)
        with pytest.raises(KeyboardInterrupt):
            run(begun)
    run(RunDirectory.open(begun.path))
    assert [record.round for record in begun.records()] == [1, 2, 3]
    assert begun.model_path.read_bytes() == whole.model_path.read_bytes()


@pytest.mark.slow
def test_a_hook_may_run_a_failed_round_again(small_run, monkeypatch):
    """A round without a sum has changed nothing: run again, it ends with the same weights."""
    _, once = small_run("once")
    aggregate, asked, failed = SecureAggregator.aggregate, [], []

    def flaky(self, exchange, number, *rest):
        asked.append(number)
        if asked.count(number) == 1:
            raise RoundFailedError("no sum")
        return aggregate(self, exchange, number, *rest)

    def attempt(self, number, round_):
        try:
            return round_()
        except RoundFailedError:
            failed.append(number)
            return round_()

    monkeypatch.setattr(SecureAggregator, "aggregate", flaky)
    monkeypatch.setattr(SimulationHooks, "attempt", attempt)
    _, again = small_run("again")
    assert failed == [1, 2, 3]
    assert once.model_path.read_bytes() == again.model_path.read_bytes()


def test_failure_behind_the_sum_is_not_tried_again(tmp_path, small_config, monkeypatch):
    """The state had round 1 already: as another try of it, round 2 was run and written down."""

    def attempt(self, number, round_):
        with suppress(RoundFailedError, DeadlineExceeded, MemberFailedError):
            return round_()
        return round_()

    def nobody(federation):
        raise DeadlineExceeded("no member answered")

    monkeypatch.setattr(SimulationHooks, "attempt", attempt)
    monkeypatch.setattr(rounds, "spent", nobody)
    directory = RunDirectory.create(tmp_path / "run", small_config(mode="plain"))
    with pytest.raises(SecureflError, match="round 1 has a sum, and does not end: no member"):
        run(directory)
    assert directory.records() == []


def test_a_failed_round_ends_a_simulation(small_run, monkeypatch):
    def fails(*arguments):
        raise RoundFailedError("round 1 has no sum")

    monkeypatch.setattr("securefl.federation.runs.loop.run_round", fails)
    with pytest.raises(RoundFailedError, match="round 1 has no sum"):
        small_run()
