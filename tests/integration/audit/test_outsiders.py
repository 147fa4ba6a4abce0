"""What an outsider without a key makes of genuine entries lowers no honest verdict."""

import copy
import time
from dataclasses import replace

import pytest

from securefl.audit import verify as verify_module
from securefl.audit.bundle.bundle import parse
from securefl.audit.bundle.time_limit import deadline
from securefl.audit.verify import OtherBundle, verify
from securefl.consortium.agreement.context import Consortium
from securefl.consortium.ledger.events import Release, Start
from support.bundle_scenario import NOW, STEP, honest

FULL = STEP.model_copy(update={"sampling_rate": 1.0})
"""Every unit in every step: quick to price."""


def moved(run, minutes, seed):
    """The same run at another time, under an id of its own."""
    later = [replace(written, minute=written.minute + minutes) for written in run.script]
    consortium = Consortium(run.consortium.signed, bytes([seed] * 32))
    return replace(run, script=later, consortium=consortium)


def small(history=()):
    return honest(rounds=1, members=3, masked=False, step=FULL, history=history)


@pytest.fixture(scope="module")
def earlier():
    return moved(small(), 0, 1)


@pytest.fixture(scope="module")
def later(earlier):
    """An honest run that counts the earlier one on the same data."""
    return on_the_data_of(earlier, moved(small(history=(FULL,)), 600, 3))


@pytest.fixture(scope="module")
def elsewhere(earlier):
    """A run of the same members on other data, between the two."""
    run = moved(small(), 100, 2)
    for number, name in enumerate(run.keys):
        run = run.edited(name, Start, {"data_set": f"{number + 500:064x}"})
    return run


def on_the_data_of(earlier, run):
    for written in earlier.script:
        if isinstance(written.event, Start):
            run = run.edited(written.member, Start, {"data_set": written.event.data_set})
    return run


def releases(tree):
    return [e for e in tree["entries"] if e["entry"]["event"]["kind"] == "release"]


def _again(tree, _, __):
    tree["entries"] += releases(tree)


def _of_other_data(tree, elsewhere, _):
    tree["entries"] += releases(elsewhere)


def _foreign_start(tree, elsewhere, _):
    tree["entries"] = [tree["entries"][0], *elsewhere["entries"]]


def _the_audited_run(tree, _, mine):
    tree["entries"] = mine["entries"]


def _its_releases(tree, _, mine):
    tree["entries"] += releases(mine)


CRAFTED = (_again, _of_other_data, _foreign_start, _the_audited_run, _its_releases)


@pytest.mark.parametrize("craft", CRAFTED)
def test_genuine_entries_in_a_false_place(craft, earlier, later, elsewhere):
    """A release twice, of another run, or of the audited one: the honest run passes."""
    mine = later.seal()
    other = copy.deepcopy(earlier.seal().to_json())
    craft(other, elsewhere.seal().to_json(), mine.to_json())
    audit = verify(mine, others=(OtherBundle(parse(other)),), now=NOW)
    assert audit.verdict == "pass", [c for c in audit.checks if c.verdict == "fail"]


def test_genuine_entries_in_a_false_place_control(earlier, later):
    """A later run that forgets the earlier one fails, and so it does beside a copy of entries."""
    forgetful = on_the_data_of(earlier, moved(small(), 600, 3))
    other = copy.deepcopy(earlier.seal().to_json())
    for _ in range(2):
        audit = verify(forgetful.seal(), others=(OtherBundle(parse(other)),), now=NOW)
        assert [c.name for c in audit.checks if c.verdict == "fail"] == ["earlier-runs"]
        _again(other, None, None)
    beside = (OtherBundle(earlier.seal()),)
    assert verify(later.seal(), others=beside, now=NOW).verdict == "pass"


def test_runs_that_overlap_in_one_second_accuse_nobody(earlier):
    """The later one began in the second of the earlier one's release, which it does not count."""
    second = next(w.minute for w in earlier.script if isinstance(w.event, Release))
    at_once = on_the_data_of(earlier, moved(small(), second, 3))
    audit = verify(at_once.seal(), others=(OtherBundle(earlier.seal()),), now=NOW)
    assert audit.verdict == "pass", [c for c in audit.checks if c.verdict == "fail"]
    after = on_the_data_of(earlier, moved(small(), second + 1, 3))
    audit = verify(after.seal(), others=(OtherBundle(earlier.seal()),), now=NOW)
    assert [c.name for c in audit.checks if c.verdict == "fail"] == ["earlier-runs"]


@pytest.mark.parametrize("craft", [_again, _of_other_data])
def test_genuine_entries_beside_the_earlier_run(craft, earlier, later, elsewhere):
    """Where the audited run is the earlier of the two."""
    other = copy.deepcopy(later.seal().to_json())
    craft(other, elsewhere.seal().to_json(), None)
    audit = verify(earlier.seal(), others=(OtherBundle(parse(other)),), now=NOW)
    assert audit.verdict == "pass", [c for c in audit.checks if c.verdict == "fail"]


def test_slow_bundle_beside_leaves_time(earlier, later, monkeypatch):
    """Its end is a fault that names it; the audited bundle has its verdict within the limit."""
    judge = verify_module._fault

    def slow(case):
        if case.bundle.run == earlier.consortium.run_id.hex():
            time.sleep(20)
        return judge(case)

    monkeypatch.setattr(verify_module, "_fault", slow)
    mine, beside = later.seal(), OtherBundle(earlier.seal(), "theirs.json")
    verify(mine, now=NOW)  # its prices are cached
    # Half of the time for two others: the second one is honest, and quick.
    with deadline(4.0, "the audit"):
        audit = verify(mine, others=(beside, OtherBundle(mine)), now=NOW)
    found = {check.name: check.reason for check in audit.checks}
    assert audit.verdict == "pass"
    assert "nothing follows from theirs.json: its audit takes longer" in found["earlier-runs"]


def test_unsigned_bundle_beside_is_not_priced(earlier, later, monkeypatch):
    """A dear account that nobody signed costs the audit nothing."""
    other = copy.deepcopy(earlier.seal().to_json())
    for signed in other["entries"]:
        signed["signature"] = "00" * 64
    asked = []
    checks = verify_module.CHECKS

    def noted(check):
        def run(case):
            if case.bundle.run == other["run"]:
                asked.append(check.name)
            return check.run(case)

        return replace(check, run=run)

    monkeypatch.setattr(verify_module, "CHECKS", tuple(map(noted, checks)))
    audit = verify(later.seal(), others=(OtherBundle(parse(other)),), now=NOW)
    assert audit.verdict == "pass"
    assert asked
    assert asked[-1] == "entry-signatures"
