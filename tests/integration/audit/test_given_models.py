"""Models given to the auditor: read strictly, and no more claimed of them than is signed."""

import json
import struct

import numpy as np
import pytest

from securefl.audit.bundle.bundle import to_text
from securefl.audit.checks.not_proved import NOT_PROVED
from securefl.audit.sign import sign_model
from securefl.audit.verify import verify, verify_file
from securefl.errors import InputError
from support.bundle_edits import CHEAT, round_model
from support.bundle_scenario import NOW, honest

VALUES = (np.linspace(-1, 1, 6).astype(np.float32) + np.float32(0.125)).astype("<f4")
NAMES = ("item", "user")


@pytest.fixture(scope="module")
def run():
    return honest(rounds=1, masked=False)


@pytest.fixture
def bundle(run, tmp_path):
    path = tmp_path / "bundle.json"
    path.write_text(to_text(run.seal()))
    return path


def file_of(path, order, *, task="recommendation", shape=(3,), names=NAMES):
    """A model's file, byte for byte; the values lie in the order of the names."""
    metadata = {"order": json.dumps(order)} | ({} if task is None else {"task": task})
    header = {"__metadata__": {"securefl": json.dumps(metadata)}}
    for at, name in enumerate(names):
        place = [12 * at, 12 * at + 12]
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": place}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + VALUES.tobytes())
    return path


def given(bundle, model):
    checks = verify_file(bundle, model=model, now=NOW).checks
    return next(check for check in checks if check.name == "model-given")


def test_exchanged_names_are_the_files_word(bundle, tmp_path):
    """No signed entry covers names: the audit says so, and claims the values alone."""
    for names in (NAMES, NAMES[::-1]):
        found = given(bundle, file_of(tmp_path / "model", list(names), names=names))
        assert found.verdict == "pass"
        assert "the values of round 1" in found.reason
        assert "names and shapes of its tensors are the file's word" in found.reason
    assert any("called, and their shapes" in sentence for sentence in NOT_PROVED)


def test_a_file_of_another_task_is_refused(bundle, run, tmp_path):
    """The task is agreed, so the audit fails, and nothing is signed."""
    other = file_of(tmp_path / "model", list(NAMES), task="pricing")
    assert given(bundle, other).verdict == "fail"
    with pytest.raises(InputError, match="another task"):
        sign_model(bundle, other, run.keys[CHEAT], tmp_path / "signed", NOW)


@pytest.mark.parametrize("shape", [(-1, -3), (3.0,), ("3",), (True, 3), (10**400, 0), (2,)])
def test_a_shape_that_is_none_is_refused(bundle, tmp_path, shape):
    with pytest.raises(InputError, match="damaged"):
        given(bundle, file_of(tmp_path / "model", list(NAMES), shape=shape))


@pytest.mark.parametrize(
    "order", [[1], [None], ["item"], ["item", "item"], ["item", 1], "item", {"item": 0}, [["item"]]]
)
def test_an_order_of_other_than_the_names_is_refused(bundle, tmp_path, order):
    with pytest.raises(InputError, match="order"):
        given(bundle, file_of(tmp_path / "model", order))
    for names in (("1", "user"), ("None", "user")):
        with pytest.raises(InputError, match="order"):
            given(bundle, file_of(tmp_path / "model", [*order, "user"], names=names))


def test_a_file_without_a_task_is_refused(bundle, tmp_path):
    with pytest.raises(InputError, match="task"):
        given(bundle, file_of(tmp_path / "model", list(NAMES), task=None))


def test_the_result_without_a_budget_is_not_settled():
    """Validation chooses the round, and nobody signs what it said."""
    run = honest(rounds=2, masked=False, private=False)
    for model in (run.model, round_model(run, 1)):
        run.model = model
        audit = verify(run.seal(), model=model, now=NOW)
        found = {check.name: check for check in audit.checks}
        for name in ("model-chain", "model-given"):
            assert found[name].verdict == "pass"
            assert "which one is the coordinator's word" in found[name].reason
