import json
import os
import time

import pytest

from securefl.federation.services.facts_file import open_facts
from support.statuses import MEMBER_STATUS, STATUS


def test_status_shows_round_members_and_epsilon(here, cli):
    now = time.time()
    members = [STATUS["members"][0] | {"heard": now - 3}, STATUS["members"][1]]
    tree = STATUS | {"written": now, "members": members}
    (here / "status.json").write_text(json.dumps(tree))
    shown = cli("status", ".").out
    for words in ("round 2 of 20", "north", "train-masked", "away", "never", "1.25", "2.5"):
        assert words in shown
    assert cli("status", ".", "--format", "json").json == tree


def test_status_of_a_member_shows_what_it_waits_for(here, cli):
    """In its state folder, whose newest run is shown."""
    now = time.time()
    tree = MEMBER_STATUS | {"written": now, "since": now - 40, "asked": now - 41}
    (here / "older").mkdir()
    (here / "older" / "status.json").write_text(json.dumps(tree | {"member": "old"}))
    os.utime(here / "older" / "status.json", (1, 1))
    (here / "newer").mkdir()
    (here / "newer" / "status.json").write_text(json.dumps(tree))
    shown = cli("status", ".").out
    for words in ("round 3 of 20", "north", "next request, for 4", "round 2", "1.25"):
        assert words in shown
    assert cli("status", ".", "--format", "json").json == tree


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"state": "over", "model": "m/model"}, ["over, round 3", "m/model"]),
        ({"state": "stopped", "reason": "as agreed"}, ["stopped", "as agreed"]),
        ({"step": "train-masked"}, ["Does", "train-masked"]),
        ({"connected": False}, ["no connection to the broker"]),
        ({"asked": None, "verified": 0, "epsilon": None}, ["never", "none"]),
    ],
)
def test_states_of_a_member_are_told_apart(here, cli, change, words):
    (here / "status.json").write_text(json.dumps(MEMBER_STATUS | change))
    shown = cli("status", ".").out
    assert all(word in shown for word in words)


def test_damaged_status_of_a_member_says_so(here, cli):
    (here / "status.json").write_text(json.dumps(MEMBER_STATUS | {"round": "three"}))
    assert cli("status", ".").refused("no status")


def test_status_of_what_is_no_run_says_so(here, cli):
    assert cli("status", ".").refused("no status")


def test_facts_are_written_once_and_read_back(here, cli, ratings):
    shown = cli("facts", ratings, "--out", "agreed.facts").out
    facts = open_facts(here / "agreed.facts")
    assert facts.digest.hex() in shown
    assert facts.content.customers == 60
    assert cli("facts", ratings, "--out", "agreed.facts").refused("exists")


def test_damaged_facts_are_named(here):

    from securefl.errors import InputError

    (here / "facts").write_bytes(b"\x81\xa7version\x01")
    with pytest.raises(InputError, match="damaged"):
        open_facts(here / "facts")


def test_a_member_without_an_agreement_says_what_is_missing(here, cli):
    options = ("--key", "north.key", "--facts", "facts")
    for command in ("member", "coordinator", "doctor"):
        assert cli(command, "agreement.toml", *options).refused("north.key")


@pytest.fixture
def scheduled(monkeypatch):
    """A schedule of two runs, of which each command hears; no party is there."""
    from datetime import UTC, datetime
    from types import SimpleNamespace

    from securefl.federation.services import bootstrap, logging, schedule

    asked = []

    def in_turn(enter, first, announce):
        for number in (1, 2):
            asked.append((enter(str(number)).number, first))
            due = datetime(2026, 3, 3, 7, 30, tzinfo=UTC)
            announce(schedule.Announcement(number, 2, due, waits=number == 2))
            yield number

    def coordinated(enter, out, timeouts, announce):
        for number in in_turn(enter, out, announce):
            yield SimpleNamespace(rounds=3, best_round=number, run_dir=f"{out}/{number}")

    def followed(enter, first, paths, announce):
        for number in in_turn(enter, first, announce):
            model = paths.state / str(number) / "model"
            model.mkdir(parents=True)
            metrics = {"federated": {"hr@10": 0.5}}
            yield SimpleNamespace(path=model.with_name("figures.json"), metrics=metrics)

    agreement = SimpleNamespace(config=SimpleNamespace(discloses=()))
    monkeypatch.setattr(logging, "log_to", lambda: None)
    monkeypatch.setattr(
        bootstrap,
        "connection_context",
        lambda _, key, facts, run, **more: SimpleNamespace(
            number=int(run), port=1, signed=SimpleNamespace(agreement=agreement)
        ),
    )
    monkeypatch.setattr(schedule, "coordinated", coordinated)
    monkeypatch.setattr(schedule, "followed", followed)
    for name in ("member", "coordinator"):
        monkeypatch.setattr(f"securefl_cli.commands.{name}.unlocked", lambda *_: None)
    return asked


def test_a_coordinator_runs_its_schedule(here, cli, scheduled):
    options = ("--key", "k", "--facts", "facts", "--out", "runs", "--schedule")
    outcome = cli("coordinator", "a.toml", *options)
    assert [number for number, _ in scheduled] == [1, 2]
    assert "Run 1 of 2 begins now." in outcome.err
    assert "Run 2 of 2 begins on 2026-03-03 07:30 UTC." in outcome.err
    assert "see runs/2" in outcome.out
    assert "securefl audit export runs/2" in outcome.out


def test_a_member_follows_a_schedule(here, cli, scheduled):
    """From the run that is named on; after each, it says where its model is."""
    options = ("--key", "k", "--facts", "facts", "--run", "2", "--schedule")
    outcome = cli("member", "a.toml", *options)
    assert scheduled == [(1, 2), (2, 2)]
    assert "securefl predict securefl-member/2/model" in outcome.out
    assert outcome.out.rstrip().endswith("a new version of the agreement has more.")
