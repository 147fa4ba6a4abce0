"""Every field of a bundle is changed, in every mode: the verdict is PASS no longer, or says why."""

import copy
import random
from functools import cache
from typing import get_args

import pytest
from pydantic import ValidationError

from securefl.audit.bundle.bundle import Bundle, parse
from securefl.audit.bundle.case import AuditContext, Log
from securefl.audit.verify import _fault
from securefl.consortium.ledger.event_base import Mechanism
from securefl.consortium.ledger.events import Entry, Event, Outcome
from support.bundle_edits import CHEAT
from support.bundle_fields import UNORDERED, at, fields_of, other_values, put, resigned
from support.bundle_scenario import NOW, STEP, honest, scored

ALL_UNITS = STEP.model_copy(update={"sampling_rate": 1.0})
EARLIER = (ALL_UNITS.model_copy(update={"steps": 4}),)
LAYOUT = "1a" * 32
MODES = {
    "plain": lambda: honest(rounds=2, members=3, masked=False, private=False).edited(
        None, Outcome, {"layout": LAYOUT}
    ),
    "local dp": lambda: scored(honest(rounds=2, members=3, masked=False, step=ALL_UNITS)),
    "after other runs": lambda: honest(
        rounds=1, members=3, masked=False, history=EARLIER, step=ALL_UNITS
    ),
    "masked": lambda: honest(rounds=2, members=3, private=False),
    "masked, votes": lambda: honest(rounds=2, members=3, private=False, vote={}),
    "masked, local dp": lambda: honest(rounds=2, members=3, step=ALL_UNITS),
}
WHO = ("an outsider", "one member", "all members")
START, RELEASE = "entries[].entry.event(start)", "entries[].entry.event(release)"
FREE = {
    "created": "the time of the export, within its entries and now: nobody signs it",
    "inclusion": "the order of the proofs",
    "openings": "opened or not, as each member likes",
    "entries[].entry.time": "a member's own clock, in order and within the agreement",
    f"{START}.code": "sources that all ran: which they are, no bundle can say",
    f"{START}.code_version": "as the sources",
    f"{START}.policy": "the digest of a file that the member keeps",
    f"{START}.cap.epsilon": "a member's own limit, above what it spent",
    f"{START}.cap.delta": "as its epsilon",
    f"{START}.data_set": "a random name; that it is kept shows in other bundles",
    f"{START}.units": "a commitment; what it commits to shows where it is opened",
    f"{START}.unprotected_before": "spoken against itself, and printed in the answer",
    f"{START}.history[].clip_norm": "of an earlier run; its price does not depend on it",
}
"""The one list of fields that may be otherwise in a bundle that passes, with the reason."""


@cache
def case_of(mode, folder):
    """An honest run, its bundle as JSON, and the bundle's fields."""
    run = MODES[mode]()
    folder.mkdir(exist_ok=True)
    tree = run.seal(folder).to_json()
    return run, tree, fields_of(tree)


def fault_of(run, tree, folder):
    """What is worst of a bundle; None if it passes. Nothing is priced behind a failure."""
    try:
        bundle = parse(tree)
    except ValidationError as error:
        return str(error)
    given = {"model": run.model, "model_layout": LAYOUT}
    return _fault(AuditContext(Log(bundle), NOW, folder, run.consortium.signed, **given))


def changes_of(tree, fields):
    """Yield (who, field, places, what is done, the other value) of all changes."""
    for field in fields:
        alike = [at(tree, place) for place in field.places]
        signed = field.name.startswith("entries[].entry.")  # or else a key is of no use
        for who in WHO if signed else WHO[:1]:
            places = _places(tree, field, who)
            for what, other in other_values(at(tree, places[0]), alike) if places else ():
                yield who, field.name, places, what, other


def _places(tree, field, who):
    if who == "an outsider":
        return field.places[len(field.places) // 2 :][:1]
    if who == "all members":
        return field.places
    return [p for p in field.places if tree["entries"][p[1]]["entry"]["member"] == CHEAT]


def passes(run, tree, folder, change):
    """Whether a bundle with a change passes; False where nothing was changed."""
    who, name, places, _, other = change
    changed = copy.deepcopy(tree)
    for place in reversed(places):
        put(changed, place, copy.deepcopy(other))
    if who != "an outsider":
        resigned(changed, run.keys, {p[1] for p in places} if name.endswith("previous") else ())
    return changed != tree and fault_of(run, changed, folder) is None


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    return tmp_path_factory.mktemp("fields")


def judged(mode, beside, sample=None):
    folder = beside / mode
    run, tree, fields = case_of(mode, folder)
    assert fault_of(run, tree, folder) is None
    changes = [
        c
        for c in changes_of(tree, fields)
        if c[1] not in FREE and c[1] != "entries[].entry" and (c[1], c[3]) not in UNORDERED
    ]
    if sample is not None:
        changes = random.Random(11).sample(changes, sample)
    kept = [c for c in changes if passes(run, tree, folder, c)]
    assert [(who, name, what) for who, name, _, what, _ in kept] == []
    return len(changes)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["plain", "after other runs"])
def test_changed_field_is_no_pass(mode, beside):
    """A sample; the whole is in the slow suite."""
    assert judged(mode, beside, sample=40) == 40


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_every_changed_field_is_no_pass(mode, beside):
    assert judged(mode, beside) > 500


@pytest.mark.slow
def test_fields_are_those_of_the_code(beside):
    """A new field of a bundle, entry or mechanism is changed with the others, or it fails here."""
    seen = set()
    for mode in MODES:
        seen |= {field.name for field in case_of(mode, beside / mode)[2]}
    wanted = set(Bundle.model_fields) | {f"entries[].entry.{name}" for name in Entry.model_fields}
    for event in get_args(get_args(Event)[0]):
        kind = event.model_fields["kind"].default
        if kind not in UNSEEN:
            wanted |= {f"entries[].entry.event({kind}).{name}" for name in event.model_fields}
    wanted |= {f"{RELEASE}.mechanism.{name}" for name in Mechanism.model_fields}
    assert wanted - seen - LEFT_OUT == set()
    assert set(FREE) <= seen


UNSEEN = {"refusal", "refused-question", "unseen-outcome"}
"""Events of runs in which something was refused or not seen: they release and claim nothing."""
LEFT_OUT = {f"{START}.other_units"}
"""Left out of the bytes where it is empty; `units-apart` has manipulations of its own."""


@pytest.mark.slow
def test_free_fields_are_free_in_some_mode(beside):
    """The list holds nothing that is checked after all: each passes with some other value."""
    left = set(FREE) - {"openings"}
    for mode in ("plain", "local dp", "after other runs"):
        run, tree, fields = case_of(mode, beside / mode)
        for change in changes_of(tree, [field for field in fields if field.name in left]):
            if change[1] in left and passes(run, tree, beside / mode, change):
                left.discard(change[1])
    assert left == set()
