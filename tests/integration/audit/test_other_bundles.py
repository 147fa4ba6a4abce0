"""Bundles beside the audited one: they lower a verdict by what is signed, and raise none."""

import copy
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import ValidationError

from securefl.audit.bundle.bundle import parse
from securefl.audit.verify import OtherBundle, verify
from securefl.consortium.agreement.context import Consortium
from securefl.consortium.agreement.model import new_agreement
from securefl.consortium.agreement.signatures import signed_by
from securefl.consortium.keys.parties import party_of
from securefl.consortium.ledger.events import Outcome
from securefl_protocols.primitives.signing import SigningKey
from support.bundle_edits import CHEAT, FALSE, missed
from support.bundle_scenario import BEGIN, NOW, STEP, honest
from support.crafted_bundles import CRAFTED


@pytest.fixture(scope="session")
def run():
    return honest(masked=False)


@pytest.fixture(scope="session")
def tree(run):
    return run.seal().to_json()


@pytest.fixture
def judged(run):
    """The honest bundle with others beside it: the verdict, and two checks."""

    def audit(*others):
        beside = tuple(
            OtherBundle(parse(other) if isinstance(other, dict) else other) for other in others
        )
        found = verify(run.seal(), others=beside, now=NOW, agreement=run.consortium.signed)
        checks = {check.name: check for check in found.checks}
        return found.verdict, checks["no-fork"], checks["earlier-runs"]

    return audit


def later_run(history=()):
    later = honest(rounds=1, masked=False, history=history)
    later.script = [replace(written, minute=written.minute + 600) for written in later.script]
    later.consortium = Consortium(later.consortium.signed, bytes(range(50, 82)))
    return later


def test_entries_that_an_outsider_swaps_are_no_fork(judged, tree):
    other = copy.deepcopy(tree)
    other["entries"][:2] = other["entries"][1::-1]
    verdict, fork, _ = judged(other)
    assert (verdict, fork.verdict) == ("pass", "not checked")
    for linked in other["heads"]:
        linked["head"]["signatures"] = {}
    assert judged(other)[0] == "pass"


def test_a_replayed_entry_in_another_bundle_is_no_fork(judged, tree):
    other = copy.deepcopy(tree)
    other["entries"].append(other["entries"][3])
    assert judged(other)[0] == "pass"


@pytest.fixture(scope="module", params=["local noise", "masked", "a dropout"])
def small(request):
    """A run whose price is quick to compute: every unit is in every step."""
    if request.param == "masked":
        return honest(rounds=1, private=False)
    step = STEP.model_copy(update={"sampling_rate": 1.0})
    if request.param == "local noise":
        return honest(rounds=1, members=3, masked=False, step=step)
    return missed(honest(rounds=2, members=3, masked=False, step=step))


@pytest.mark.parametrize("name", CRAFTED)
def test_outsider_lowers_no_honest_verdict(name, small, tmp_path):
    """Beside the honest bundle alone, or several times and beside an honest copy."""
    mine = small.seal(tmp_path)
    other = copy.deepcopy(mine.to_json())
    CRAFTED[name](other)
    try:
        crafted = OtherBundle(parse(other), folder=tmp_path)
    except ValidationError:
        return  # the file is refused by name, before the audit
    pinned = small.consortium.signed
    for agreement, others in ((pinned, (crafted,)), (None, (crafted, crafted, OtherBundle(mine)))):
        audit = verify(mine, others=others, now=NOW, agreement=agreement, folder=tmp_path)
        assert audit.verdict == "pass", [c for c in audit.checks if c.verdict == "fail"]


def test_bundle_of_another_consortium_lowers_nothing(judged):
    """Foreign parties, of the same names and with keys of their own."""
    keys = {f"retailer-{n}": SigningKey(bytes([n + 60] * 32)) for n in range(5)}
    foreign = honest(rounds=1, masked=False, private=False)
    agreement = new_agreement(
        "others",
        tuple(party_of(name, key) for name, key in keys.items()),
        foreign.consortium.signed.agreement.config,
        created=BEGIN - timedelta(days=30),
        expires=BEGIN + timedelta(days=300),
    )
    foreign = replace(
        foreign, keys=keys, consortium=Consortium(signed_by(agreement, keys), bytes(32))
    )
    assert judged(foreign.seal())[0] == "pass"
    same_run = replace(
        foreign, consortium=Consortium(signed_by(agreement, keys), bytes(range(100, 132)))
    )
    assert judged(same_run.seal())[0] == "pass"


def test_a_head_that_members_signed_is_a_fork(judged, run):
    """Of another log only a head is left, with the members' signatures."""
    fork = run.edited(None, Outcome, {"model_after": FALSE}, 2).seal().to_json()
    other = run.seal().to_json() | {"heads": fork["heads"]}
    verdict, found, _ = judged(other)
    assert (verdict, found.verdict) == ("fail", "fail")
    assert CHEAT in found.reason


def test_a_second_entry_under_one_number_is_a_fork(judged, run):
    fork = run.edited(CHEAT, Outcome, {"model_after": FALSE}, 2).seal()
    verdict, found, _ = judged(run.seal(), fork)
    assert (verdict, found.verdict) == ("fail", "fail")


def test_an_earlier_run_under_invented_keys_proves_nothing(judged, run):
    """An outsider copies the data set's pseudonym into a run of its own making."""
    keys = {name: SigningKey(bytes([place + 100] * 32)) for place, name in enumerate(run.keys)}
    signed = run.consortium.signed.agreement
    agreement = new_agreement(
        signed.name,
        tuple(party_of(name, key) for name, key in keys.items()),
        signed.config,
        created=BEGIN - timedelta(days=30),
        expires=BEGIN + timedelta(days=300),
    )
    invented = replace(run, keys=keys, consortium=Consortium(signed_by(agreement, keys), bytes(32)))
    invented.script = [replace(written, minute=written.minute - 60) for written in run.script]
    verdict, _, earlier = judged(invented.seal())
    assert (verdict, earlier.verdict) == ("pass", "not checked")


def test_an_earlier_run_without_its_releases_clears_no_account(run):
    """Members' signed ends still say what was spent, and a bundle with gaps proves no more."""
    tree = run.seal().to_json()
    kinds = {"release"}, {"release", "end"}
    for left_out in kinds:
        other = copy.deepcopy(tree)
        other["entries"] = [
            signed for signed in tree["entries"] if signed["entry"]["event"]["kind"] not in left_out
        ]
        audit = verify(later_run().seal(), others=(OtherBundle(parse(other)),), now=NOW)
        found = {check.name: check.verdict for check in audit.checks}
        assert found["earlier-runs"] == ("not checked" if "end" in left_out else "fail")


def test_several_others_are_judged_one_by_one(run):
    """An honest one beside does not hide the run that the account forgets."""
    step = STEP.model_copy(update={"steps": 3 * STEP.steps})
    honest_later, reset = later_run(history=(step,)), later_run()
    same = OtherBundle(honest_later.seal())
    earlier = OtherBundle(run.seal())
    assert verify(honest_later.seal(), others=(same, earlier), now=NOW).verdict == "pass"
    same = OtherBundle(reset.seal())
    assert verify(reset.seal(), others=(same, earlier), now=NOW).verdict == "fail"
