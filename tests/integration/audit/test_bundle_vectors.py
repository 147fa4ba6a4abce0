"""Vectors of bundles: two verifiers that share no line agree on each, and the files are current."""

import ast
import importlib.util
import json
import random

import numpy as np
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from reference.replay import Optimizer, cohort, number_format
from securefl.audit.bundle.bundle import BundleError
from securefl.audit.verify import verify_file
from securefl.config.load import ConfigError, load_config
from securefl.config.schema import ServerSettings
from securefl.federation.aggregation.cohort import agreed_cohort
from securefl.federation.aggregation.server_optimizer import ServerOptimizer
from securefl.privacy.encoding.lanes import update_encoding
from securefl_protocols.primitives.errors import PlanError
from support.bundle_scenario import NOW
from support.bundle_vectors import FOLDER, SCHEMA, contents, schema_text
from support.paths import ROOT

REFERENCE = ROOT / "tests" / "reference" / "verifier.py"
INDEX = json.loads((FOLDER / "index.json").read_text())
STALE = "write them anew: python -m support.bundle_vectors write"


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("reference_verifier", REFERENCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_schema_is_that_of_the_code():
    """Committed, so that another verifier needs no Python."""
    assert SCHEMA.read_text() == schema_text(), STALE


def test_the_vectors_are_those_of_the_code():
    """To the byte: a changed format shows here first."""
    found = {
        path.relative_to(FOLDER).as_posix(): path.read_bytes()
        for path in FOLDER.rglob("*")
        if path.is_file()
    }
    assert found == contents(), STALE


def test_every_kind_of_vector_is_there():
    """Honest ones, and a bad one for every check of the core but one that others come before."""
    bad = [vector for vector in INDEX if vector["core"]]
    assert len(INDEX) - len(bad) >= 2
    assert {vector["core"] for vector in bad} >= {
        *("form", "agreement", "entries", "chain", "log", "consistency", "inclusion", "heads"),
        *("outcomes", "models", "epsilon", "transcripts", "sums", "models-from-sums"),
    }
    assert all(vector["file"].startswith("bad_") == bool(vector["core"]) for vector in INDEX)


@pytest.mark.parametrize("vector", INDEX, ids=lambda vector: vector["file"])
def test_both_verifiers_agree_on_a_vector(vector, reference):
    """On honest and bad alike, each by the check that is named."""
    path = FOLDER / vector["file"]
    assert reference.verify(path) == vector["core"]
    try:
        audit = verify_file(path, now=NOW)
    except BundleError:
        assert vector["audit"] == "schema"
        return
    failed = {check.name for check in audit.checks if check.verdict == "fail"}
    if vector["audit"] is None:
        assert (audit.verdict, failed) == ("pass", set())
    else:
        assert vector["audit"] in failed


def test_both_refuse_what_chance_changes(reference, tmp_path):
    """Whatever character of a signed part is changed, neither verifier passes it."""
    text = (FOLDER / "honest.json").read_text()
    first, last = text.index('"entries"'), text.index('"format"')
    chance = random.Random(5)
    path = tmp_path / "bundle.json"
    for _ in range(25):
        place = chance.randrange(first + 20, last)
        other = chance.choice("0123456789abcdef")
        if text[place] == other or text[place] in '"{}[],:':
            continue
        path.write_text(text[:place] + other + text[place + 1 :])
        assert reference.verify(path) is not None
        try:
            assert verify_file(path, now=NOW).verdict == "fail"
        except BundleError:
            continue


def test_the_reference_knows_nothing_of_the_program():
    """It can only agree because the pages say enough."""
    parts = [path for path in REFERENCE.parent.glob("*.py") if not path.match("test_*")]
    imported = {name for path in parts for name in _imported(path)}
    assert imported == {
        *(
            "cryptography",
            "dataclasses",
            "hashlib",
            "json",
            "math",
            "pathlib",
            "random",
            "rbcl",
            "re",
        ),
        *("reference", "struct", "sys"),
    }


def _imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split(".")[0]


def test_the_reference_names_sums_that_it_left(reference, tmp_path):
    """No check fails, and yet it does not say that all was recomputed."""
    assert reference.check(FOLDER / "honest_adaptive.json") == (None, None)
    assert reference.check(FOLDER / "honest.json") == (None, "sums were not masked")
    tree = json.loads((FOLDER / "honest_adaptive.json").read_text())
    first = tree["transcripts"].pop(0)
    assert first["round"] == 1
    (tmp_path / "files").mkdir()
    for name in (tree["transcripts"][0]["file"], tree["claims"]["start_model"]):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    (tmp_path / "bundle.json").write_text(json.dumps(tree))
    failed, lacking = reference.check(tmp_path / "bundle.json")
    assert (failed, lacking) == (None, "there is no transcript of round 1")


@pytest.mark.parametrize("optimizer", ["fedavg", "fedavgm", "fedadam"])
def test_both_apply_the_same_mean_to_the_bit(optimizer):
    """Over three rounds, so that the moments count."""
    settings = ServerSettings(optimizer=optimizer, learning_rate=0.7)
    chance, ours = np.random.default_rng(3), ServerOptimizer(settings, 40)
    theirs = Optimizer(settings.model_dump(), 40)
    shared = chance.normal(size=40).astype(np.float32)
    content = shared.tobytes()
    for _ in range(3):
        change = chance.normal(size=40)
        shared = ours.apply(shared, change)
        content = theirs.apply(content, change.tolist())
        assert content == shared.astype("<f4").tobytes()


FORMATS = [
    {"bits": bits, "max_samples": samples, "limit": limit, "rounding": rounding} | tolerance
    for bits in ("auto", 16, 24, 32, 64)
    for samples, limit in ((1, 8.0), (100, 0.3), (1 << 20, 8.0))
    for rounding in ("auto", "nearest", "random")
    for tolerance in ({}, {"tolerance": 1e-6})
]


@pytest.mark.parametrize("dp", ["none", "local"])
def test_both_compute_the_same_number_format(dp):
    """Lanes, step, digits and bounds, for what an agreement may say of them."""
    compared = 0
    for settings in FORMATS:
        try:
            config = load_config(None, _agreed(settings, dp))
            form = update_encoding(config, 5)
        except (ConfigError, PlanError):
            continue
        found = number_format(config.model_dump(mode="json"), 5)
        theirs = (found.bits, found.fraction, found.tail, found.largest_input)
        assert theirs == (form.ring.value, form.fraction_bits, form.tail, form.largest_input)
        compared += 1
    assert compared > 30


def _agreed(settings, dp):
    privacy = {"dp": dp} | ({} if dp == "none" else {"epsilon": 2.0})
    return {"task": "recommendation", "mode": "secure", "secure": settings, "privacy": privacy}


def test_both_draw_the_same_cohorts():
    """Of a part of the members, in several rounds."""
    settings = {"cohort": {"fraction": 0.4, "minimum": 3}, "seed": 11, "task": "recommendation"}
    config, names = load_config(None, settings), tuple(f"member-{n}" for n in range(30))
    agreed = {"members": [{"name": n} for n in names], "config": config.model_dump(mode="json")}
    drawn = [tuple(cohort(agreed, number)) for number in range(1, 6)]
    assert drawn == [agreed_cohort(config, names, number) for number in range(1, 6)]
    assert {len(names) for names in drawn} == {12}


SCALARS = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text()
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.recursive(SCALARS | FLOATS, lambda deep: st.lists(deep) | st.dictionaries(st.text(), deep))
)
def test_the_references_canonical_json_is_rfc_8785(value):
    """Against the library that the program uses."""
    spec = importlib.util.spec_from_file_location("reference_verifier", REFERENCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.octets(value) == rfc8785.dumps(value)
