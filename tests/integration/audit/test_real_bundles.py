"""Bundles of real runs, with dropouts, resumed, under masks and shared noise: changed in all ways.

What a made-up bundle cannot show: noise that is given back, entries of a run that went on, and
transcripts of sums with a member missing.
"""

import copy
import json
import random
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from securefl.audit import verify as verifying
from securefl.audit.bundle.bundle import parse
from securefl.audit.bundle.case import AuditContext, Log
from securefl.audit.export import export
from securefl.audit.verify import OtherBundle, verify, verify_file
from securefl.config.load import load_config, merge
from securefl.consortium.keys.key_files import read_key
from securefl.consortium.ledger.paths import LedgerPaths
from securefl.federation.runs.agreement import KEY
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.run import run
from support.bundle_fields import UNORDERED, at, fields_of, other_values, put, resigned
from support.crafted_bundles import CRAFTED

AWAY = {"dropouts": [{"member": "west", "round": 1, "step": "masked-input"}]}
SHARED = {
    "dp": "distributed",
    "epsilon": 8.0,
    "delta": 1e-5,
    "steps": 1,
    "sampling_rate": 1.0,
    "distributed": {"excess": "remove"},
}
KINDS = {
    "masked": {"simulation": AWAY},
    "distributed": {"simulation": AWAY, "privacy": SHARED},
}
FREE = {
    *("created", "inclusion", "openings"),
    *(f"entries[].entry.event(start).{name}" for name in ("code", "code_version", "policy")),
    *(f"entries[].entry.event(start).{name}" for name in ("data_set", "units")),
    *("entries[].entry.event(start).unprotected_before", "entries[].entry.time"),
    "entries[].entry.event(outcome).layout",
}
"""May be otherwise in a bundle that passes; `test_every_field.FREE` has the reasons. What is
compared with the model's file, `layout`, needs one."""


class Killed(BaseException):
    """The end of the process between two rounds."""


@pytest.fixture(scope="module", params=KINDS)
def real(request, purchases, tmp_path_factory):
    """A run that lost a member in round 1, was killed behind it and resumed: tree, keys, folder."""
    folder = tmp_path_factory.mktemp(request.param)
    changes = {"mode": "secure", "rounds": 2, "model": {"name": "profile", "rank": 2}}
    config = load_config(
        None, merge({**purchases, "model": {}}, {**changes, **KINDS[request.param]})
    )
    directory = RunDirectory.create(folder / "run", config, LedgerPaths.usual(folder / "books"))
    save = RunDirectory.save_round

    def die(self, record, state):
        save(self, record, state)
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunDirectory, "save_round", die)
        with pytest.raises(Killed):
            run(directory)
    run(RunDirectory.open(directory.path))
    export(directory.path, folder / "bundle.json")
    tree = json.loads((folder / "bundle.json").read_text())
    names = [member["name"] for member in tree["agreement"]["agreement"]["members"]]
    keys = {name: read_key(directory.member_path(name) / KEY) for name in names}
    return tree, keys, folder


@pytest.mark.slow
def test_real_bundle_passes_with_its_model(real):
    """The file's tensors are those that members signed, and not the file's word."""
    _, _, folder = real
    audit = verify_file(folder / "bundle.json", model=folder / "run" / "model.safetensors")
    found = {check.name: check.reason for check in audit.checks}
    assert audit.verdict == "pass", [c for c in audit.checks if c.verdict in {"fail", "warn"}]
    assert "are those that members signed" in found["model-given"]


@pytest.mark.slow
def test_outsider_lowers_no_real_verdict(real):
    tree, _, folder = real
    mine, beside = parse(tree), []
    for craft in CRAFTED.values():
        other = copy.deepcopy(tree)
        craft(other)
        try:
            beside.append(OtherBundle(parse(other), folder=folder))
        except ValidationError:
            continue  # refused by name, before the audit
    assert len(beside) > 10
    audit = verify(mine, folder=folder, others=beside, agreement=mine.agreement)
    assert audit.verdict == "pass", [c for c in audit.checks if c.verdict == "fail"]


@pytest.mark.slow
def test_changed_field_of_a_real_bundle_is_no_pass(real):
    """A sample of all changes: by an outsider, by one member, and by all that sign them anew."""
    tree, keys, folder = real
    assert _fault(tree, folder) is None
    changes = [c for field in fields_of(tree) for c in _changes(tree, field, keys)]
    kept = []
    for who, name, places, what, other in random.Random(5).sample(changes, 300):
        changed = copy.deepcopy(tree)
        for place in reversed(places):
            put(changed, place, copy.deepcopy(other))
        if changed == tree:
            continue
        if who != "an outsider":
            links = {place[1] for place in places} if name.endswith("previous") else ()
            resigned(changed, keys, links)
        if _fault(changed, folder) is None:
            kept.append((who, name, what))
    assert kept == []


def _changes(tree, field, keys):
    if field.name in FREE or field.name == "entries[].entry":
        return
    alike, cheat = [at(tree, place) for place in field.places], next(iter(keys))
    who = {"an outsider": field.places[-1:]}
    if field.name.startswith("entries[].entry."):
        own = [p for p in field.places if tree["entries"][p[1]]["entry"]["member"] == cheat]
        who |= {"one member": own, "all members": field.places}
    for name, places in who.items():
        for what, other in other_values(at(tree, places[0]), alike) if places else ():
            if (field.name, what) not in UNORDERED:
                yield name, field.name, places, what, other


def _fault(tree, folder):
    """What is worst of a bundle; None if it passes."""
    try:
        bundle = parse(tree)
    except ValidationError as error:
        return str(error)
    return verifying._fault(AuditContext(Log(bundle), datetime.now(UTC), folder, bundle.agreement))
