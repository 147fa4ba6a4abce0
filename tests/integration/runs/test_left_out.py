"""No member vanishes from a sum without its reason reaching a person."""

import json

import pytest

from securefl.config.load import load_config
from securefl.consortium.agreement.context import Consortium
from securefl.consortium.ledger.hash_chain import read_entry
from securefl.consortium.ledger.transparency_log import open_log
from securefl.errors import DataError
from securefl.federation.coordinator.rounds import RoundRecord
from securefl.federation.member.member import Member
from securefl.federation.runs.agreement import read_agreement, read_run
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.evaluate import evaluate
from securefl.federation.runs.result import members_left_out, result_from_json
from securefl.federation.runs.run import run
from securefl.federation.runs.summary import summarise
from support.small_runs import purchases_in

KIND = "unseen-outcome"
REASON = "its tables hold numbers beyond range"


def ledger_of(directory):
    """All events in the coordinator's log of a run."""
    agreed = Consortium(read_agreement(directory), read_run(directory))
    entries = open_log(directory.ledger_path, agreed).entries()
    return [read_entry(one).entry.event for one in entries]


@pytest.fixture
def failing(monkeypatch):
    """Make a member fail in every round from one on."""

    def make(name, first=1):
        entered = Member._train_masked

        def train(self, request):
            if self.ledger.name == name and request.round >= first:
                raise DataError(REASON)
            return entered(self, request)

        monkeypatch.setattr(Member, "_train_masked", train)

    return make


def test_a_member_in_no_sum_is_named_with_its_reason(failing, small_run):
    """In the summary, in the result and in the round's line; and the claim does not cover it."""
    failing("retailer-1")
    result, directory = small_run(rounds=2)
    (left,) = result.left_out
    assert (left.member, left.rounds, left.reason) == ("retailer-1", (1, 2), f"failed: {REASON}")
    assert result.in_no_sum == ("retailer-1",)
    summary = summarise(result)
    assert f"retailer-1 is not in any sum: it failed: {REASON}." in summary.notes
    assert summary.protection.endswith("in the sums, without retailer-1.")
    assert [record.left_out for record in directory.records()] == [
        {"retailer-1": f"failed: {REASON}"}
    ] * 2
    again = result_from_json(json.dumps(result.to_json()), directory.path)
    assert again.left_out == result.left_out
    # Its own ledger, which it signs, says it as well: by the error's name, without its text.
    unseen = [event for event in ledger_of(directory) if event.kind == KIND]
    assert [(event.round, event.reason) for event in unseen] == [(1, "DataError"), (2, "DataError")]


def test_a_member_that_fails_later_is_named_from_then(failing, small_run):
    """What it gave before counts, and the summary says in how many sums it is missing."""
    failing("retailer-0", first=3)
    result, _ = small_run(rounds=4)
    assert result.left_out[0].rounds == (3, 4)
    assert result.in_no_sum == ()
    notes = summarise(result).notes
    assert any("the sums of 2 rounds, the first of them round 3" in note for note in notes)


def test_a_simulated_dropout_is_named(small_run):
    """A member that gives no answer is left out as well, and said to be."""
    away = {"member": "retailer-2", "round": 1, "step": "masked-input"}
    result, _ = small_run(rounds=1, simulation={"dropouts": [away]})
    assert [one.member for one in result.left_out] == ["retailer-2"]


def test_one_small_member_ends_no_run(tmp_path):
    """It is named with its reason in the table, in the result and in its ledger; others go on."""
    tree = purchases_in(tmp_path)
    path = tmp_path / "west.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    tree["data"]["rules"]["short_coverage"] = "keep"
    config = load_config(None, tree | {"rounds": 1})
    directory = RunDirectory.create(tmp_path / "run", config)
    result = run(directory)
    assert [member.name for member in result.members] == ["north", "south", "east"]
    (refusal,) = result.refusals
    assert (refusal.member, refusal.round) == ("west", 0)
    assert refusal.reason.startswith("no customer bought 4 different products")
    assert json.loads(json.dumps(result.to_json()))["refusals"][0]["member"] == "west"
    assert f"west refused to take part: {refusal.reason}." in summarise(result).notes
    events = ledger_of(directory)
    assert [event.reason for event in events if event.kind == "refusal"] == ["data"]
    assert set(evaluate(directory.path).members) == {"north", "south", "east"}


def test_left_out_members_are_listed_once():
    """One line a member: its rounds, and the reason of the first."""

    def record(number, **left_out):
        return RoundRecord(number, ("a", "b"), (), 0.0, {}, True, 1.0, left_out=left_out)

    found = members_left_out([record(1, b="late"), record(2, a="full", b="ill"), record(3)])
    assert [(one.member, one.rounds, one.reason) for one in found] == [
        ("b", (1, 2), "late"),
        ("a", (2,), "full"),
    ]
