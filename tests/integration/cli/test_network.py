import json
import os
import time

import pytest

from securefl.federation.services.public_facts import read_facts
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
    facts = read_facts(here / "agreed.facts")
    assert facts.digest.hex() in shown
    assert facts.content.customers == 60
    assert cli("facts", ratings, "--out", "agreed.facts").refused("exists")


def test_damaged_facts_are_named(here):

    from securefl.errors import InputError

    (here / "facts").write_bytes(b"\x81\xa7version\x01")
    with pytest.raises(InputError, match="damaged"):
        read_facts(here / "facts")


def test_a_member_without_an_agreement_says_what_is_missing(here, cli):
    options = ("--key", "north.key", "--facts", "facts")
    for command in ("member", "coordinator", "doctor"):
        assert cli(command, "agreement.toml", *options).refused("north.key")
