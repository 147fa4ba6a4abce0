"""A status file: every fact with its time, nothing old that looks new, also on a full disk."""

import errno
import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from securefl.errors import StorageFullError
from securefl.federation import messages as m
from securefl.federation.services.member_status import MemberStatusFile
from securefl.federation.services.round_steps import RoundSteps, step_of
from securefl.federation.services.status import read_any_status
from securefl.federation.services.status_facts import FILE, judged
from securefl.federation.services.status_words import view
from securefl.federation.services.status_writer import StatusWriter
from securefl.federation.transport.faults import StandingFaults
from securefl_protocols.wire.kinds import COORDINATOR_MESSAGES
from support.statuses import MEMBER_STATUS, STATUS, at, busy

NOW = time.time()
TREES = pytest.mark.parametrize("tree", [STATUS, MEMBER_STATUS], ids=["coordinator", "member"])


@TREES
def test_a_fresh_status_is_shown_as_it_is(tree):
    assert judged(at(tree, NOW), NOW + 9) == at(tree, NOW)


@TREES
def test_status_of_a_frozen_process_is_unknown(tree):
    """Ten seconds after its last word: "connected" was true then, and is not known now."""
    found = judged(at(tree, NOW), NOW + 11)
    assert found["connected"] is None
    assert [fault["code"] for fault in found["faults"]] == ["process-silent"]
    shown = view(found, NOW + 11)
    assert "is not known" in next(line.text for line in shown.lines if line.label == "State")
    assert shown.faults[0].since == "for 11 s"


@TREES
def test_status_of_an_ended_process_says_so(tree):
    found = judged(at(tree, NOW) | {"ended": NOW}, NOW + 1)
    assert [fault["code"] for fault in found["faults"]] == ["process-ended"]
    assert "same command" in found["faults"][0]["todo"]


@TREES
@pytest.mark.parametrize("state", ["over", "stopped"])
def test_the_end_of_a_run_does_not_age(tree, state):
    tree = at(tree, NOW) | {"state": state, "ended": NOW}
    assert judged(tree, NOW + 1e6) == tree


def test_no_connection_stays_no_connection():
    assert judged(at(STATUS, NOW) | {"connected": False}, NOW + 60)["connected"] is False


@pytest.fixture
def writer(tmp_path):
    faults, tree = StandingFaults(), {"round": 1, "filler": "x" * 5000}
    made = StatusWriter(tmp_path / FILE, lambda: tree, faults)
    made.tree, made.faults = tree, faults
    return made


def test_a_status_file_is_its_owners_alone(writer, tmp_path):
    writer.start()
    writer.close()
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert json.loads((tmp_path / FILE).read_text())["ended"] is not None


def test_a_fault_is_in_the_file_at_once(writer, tmp_path):
    writer.start()
    writer.tree["round"] = 2
    writer.faults.begin("store", "store-full")
    until = time.monotonic() + 5
    while json.loads((tmp_path / FILE).read_text())["round"] != 2:
        assert time.monotonic() < until
        time.sleep(0.01)
    writer.close()


def test_a_full_disk_does_not_keep_old_facts(writer, tmp_path, monkeypatch):
    """The file is written over where it lies: for that there is room."""
    writer.start()
    monkeypatch.setattr("os.fsync", full)
    writer.tree |= {"round": 3, "filler": "x" * 6000}
    writer.close()
    assert json.loads((tmp_path / FILE).read_text())["round"] == 3
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def full(number):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_the_first_status_says_that_the_disk_is_full(writer, monkeypatch):
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageFullError, match="the disk is full"):
        writer.start()


def protocol(kind, number=1):
    code = next(code for code, known in COORDINATOR_MESSAGES.items() if known.__name__ == kind)
    return m.encode(m.Protocol(round=number, payload=bytes([2, code]) + bytes(70_000)))


def test_steps_are_named_by_what_members_do():
    """Also inside a session's messages, from their first bytes; what is none has no name."""
    assert step_of(protocol("Signatures")) == "reveal shares"
    assert step_of(m.encode(m.Save(round=1))) == "save the round"
    assert step_of(m.encode(m.Protocol(round=1, payload=b""))) == "protocol"
    assert step_of(m.encode(m.Protocol(round=1, payload=b"\x02\xff"))) == "protocol"
    assert step_of(b"") == ""
    score = m.encode(m.ScoreProtocol(round=1, payload=bytes([2, 69])))
    assert step_of(score) == "scores: verify the sum"


def test_every_step_says_who_is_waited_for():
    """One after the other, with those that were given up, and why."""
    steps = RoundSteps()
    for name in "ab":
        steps.asked(name, protocol("Shares"))
    steps.answered("a")
    assert steps.facts()[0]["waits"] == ["b"]
    steps.gone("b", "its disk is full")
    first = steps.facts()[0]
    assert (first["answered"], first["waits"], first["ended"] is None) == (1, [], False)
    steps.asked("a", protocol("SurvivorSet"))
    assert [fact["step"] for fact in steps.facts()] == ["send masked inputs", "sign who is left"]
    assert steps.facts()[0]["gone"] == {"b": "its disk is full"}
    for number in range(40):
        steps.asked("a", m.encode(m.Save(round=1)) if number % 2 else protocol("Shares"))
    assert len(steps.facts()) == 16


def test_words_of_a_busy_coordinator():
    """Who is waited for, who is away and why, epsilon against the cap, verdicts."""
    shown = view(busy(NOW), NOW)
    lines = {line.label: line.text for line in shown.lines}
    assert lines["Waits"] == "for west, 2 s; 4 answers are needed"
    assert lines["Away"] == "market-hall: its disk is full"
    assert lines["Epsilon"].startswith("1.25 of at most 4")
    assert [sum_.tone for sum_ in shown.sums] == ["good", "warn", "good"]
    assert shown.progress == (6, 20)
    assert shown.steps[-1].notes == ("waits for west",)


@pytest.mark.parametrize("spent", [3.7, 4.0])
def test_a_budget_that_is_nearly_spent_is_a_warning(spent):
    shown = view(at(STATUS, NOW) | {"epsilon": spent}, NOW)
    assert next(line.tone for line in shown.lines if line.label == "Epsilon") == "warn"


def test_one_reader_finds_either_status(tmp_path):
    for name, tree in (("hub", STATUS), ("north", MEMBER_STATUS)):
        (tmp_path / name).mkdir()
        (tmp_path / name / FILE).write_text(json.dumps(at(tree, NOW)))
        assert read_any_status(tmp_path / name)["round"] == tree["round"]
    (tmp_path / "hub" / "released").mkdir()
    assert Path(read_any_status(tmp_path / "hub")["model"]).name == "released"


@pytest.fixture
def member(tmp_path):
    """A member's status file, before it has a connection."""
    agreement = SimpleNamespace(agreement=SimpleNamespace(name="grocers"))
    run, config = SimpleNamespace(id=bytes(32)), SimpleNamespace(rounds=3)
    context = SimpleNamespace(signed=agreement, run=run, config=config, name="north")
    made = MemberStatusFile(tmp_path, context, StandingFaults(), lambda: (1.5, 4.0))
    yield made
    made.close()


def test_a_member_shows_the_verdict_of_each_sum(member, tmp_path):
    """Its own: verified or not. A sum of scores, which has no such answer, is no alarm."""
    verified = m.encode(m.SumVerified(round=1, signature=bytes(64)))
    refused = m.encode(m.Failure(error="RejectedSumError", text=""))
    member.answered(protocol("RoundSum"), verified)
    member.answered(m.encode(m.ScoreProtocol(round=1, payload=bytes([2, 69]))), m.encode(m.Done()))
    member.answered(protocol("RoundSum", 2), refused)
    member.close()
    found = read_any_status(tmp_path)
    assert [(one["round"], one["verdict"]) for one in found["sums"]] == [
        (1, "verified"),
        (2, "not verified"),
    ]
    assert (found["verified"], found["epsilon"], found["cap"]) == (1, 1.5, 4.0)
    assert [fault["code"] for fault in found["faults"]] == ["process-ended"]
