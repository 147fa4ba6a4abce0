"""Runs leave behind what they left behind when `tests/golden/runs.json` was written."""

import copy
import json
from pathlib import Path

import pytest

from support.golden import collected_apart, differences
from support.golden_forms import without_floats
from support.golden_runs import FACTS, RUNS

FILE = Path(__file__).parents[2] / "golden" / "runs.json"


@pytest.fixture(scope="module")
def golden():
    return json.loads(FILE.read_bytes())


def test_runs_equal_the_golden_run(golden):
    """Every byte where this machine computes like the one that wrote them, and elsewhere all that
    does not depend on floating point.
    """
    assert differences(golden, collected_apart()) == []


def test_golden_file_covers_every_run(golden):
    """Of each run the parts that are compared anywhere, and the weights."""
    for name in RUNS:
        for part in ("ledger-of-retailer-0", "log", "bundle", "round-1", "agreement.json", "audit"):
            assert f"{name}/{part}" in golden["always"]
        assert f"{name}/weights" in golden["exact"]
    assert {f"facts-{name}/content" for name in FACTS} <= golden["always"].keys()
    kinds = {"start", "release", "outcome", "refusal", "end"}
    assert kinds <= golden["formats"]["events"].keys()


@pytest.mark.parametrize("part", ["always", "exact"])
def test_a_changed_digest_is_named(golden, part):
    """Each part is compared, by name."""
    changed = copy.deepcopy(golden)
    name = "churn-secure/log"
    changed[part][name] = "0" * 64
    assert differences(golden, changed) == [f"{part}: {name} differs"]
    del changed[part][name]
    assert differences(golden, changed) == [f"{part}: {name} is gone"]


def test_another_machine_compares_all_but_floats(golden):
    """Weights may differ there, and nothing else."""
    changed = copy.deepcopy(golden)
    changed["machine"]["numerics"] = "0" * 64
    changed["exact"]["churn-secure/weights"] = "0" * 64
    assert differences(golden, changed) == []
    changed["formats"]["messages"]["train"] = ["kind: str"]
    (line,) = differences(golden, changed)
    assert line.startswith("formats: messages differs: train")


def test_floats_and_digests_above_them_are_masked():
    """Kinds, names and counts stay."""
    event = {"kind": "release", "round": 2, "epsilon_after": 1.25, "model_before": "ab" * 32}
    masked = {"kind": "release", "round": 2, "epsilon_after": "float", "model_before": "hex 64"}
    assert without_floats(event) == masked
