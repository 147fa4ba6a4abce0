"""Vectors of bundles: two verifiers that share no line agree on each, and the files are current."""

import ast
import importlib.util
import json
import random

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from securefl.audit.bundle.bundle import BundleError
from securefl.audit.verify import verify_file
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
        *("outcomes", "models", "epsilon", "transcripts"),
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
    """It can only agree because the page says enough."""
    imported = set()
    for node in ast.walk(ast.parse(REFERENCE.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert imported == {"cryptography", "hashlib", "json", "math", "pathlib", "re", "sys"}


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
