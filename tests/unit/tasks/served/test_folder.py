"""The folder of a model: its owner's alone, self-contained, and refused when anything is wrong."""

import hashlib
import json
import shutil
import struct

import numpy as np
import pytest

from securefl.errors import InputError
from securefl.tasks.served.manifest import MANIFEST, MEMBER_FILES
from securefl.tasks.served.model import open_model
from securefl.tasks.served.vocabulary import Vocabulary
from securefl.untrusted.tensors import tensor_header


@pytest.fixture
def copied(held, tmp_path):
    """A copy of a model's folder, to be damaged."""

    def make(name="recommendation"):
        shutil.copytree(held(name).folder, tmp_path / "copy")
        return tmp_path / "copy"

    return make


def signed_again(folder, name, content):
    """Write a file, and its digest into the manifest, as an attacker would."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    manifest["files"][name] = hashlib.sha256(content).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))


def changed(folder, **fields):
    manifest = json.loads((folder / MANIFEST).read_bytes()) | fields
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_a_model_is_its_owners_alone(held):
    folder = held("recommendation").folder
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {one.name for one in folder.iterdir()} == MEMBER_FILES | {MANIFEST}
    assert {one.stat().st_mode & 0o777 for one in folder.iterdir()} == {0o600}


def test_customers_are_not_told_without_the_key(shop, copied):
    """Neither numbers nor names of customers are in the folder; another key finds none of them."""
    content = b"".join(one.read_bytes() for one in sorted(shop.folder.iterdir()))
    assert b"p-101" in content
    assert b"c-1" not in content
    assert not any(number.tobytes() in content for number in shop.problem.data.ids)
    folder = copied()
    assert open_model(folder).recommend()["basis"].eq("known").any()
    signed_again(folder, "customers.key", bytes(32))
    assert open_model(folder).recommend()["basis"].eq("history").all()


def test_a_model_is_the_same_in_another_place(held, copied):
    folder = copied()
    found = open_model(folder)
    assert found.recommend(k=3).equals(held("recommendation").opened.recommend(k=3))
    assert "## Privacy" in found.card
    assert "standard error" in found.card


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"version": 2}, "version 2 of the format cannot be read"),
        ({"format": "other"}, "is of no model"),
        ({"task": "weather"}, "task 'weather' is not installed here"),
        ({"task": "demand"}, "another task or model"),
        ({"kind": "released"}, "does not list"),
        ({"digest": "0" * 64}, "not the model of the manifest"),
        ({"digest": "no"}, "digest: String should match"),
        ({"extra": 1}, "extra: Extra inputs"),
        ({"files": {}}, "does not list"),
    ],
)
def test_a_wrong_manifest_is_one_line(fields, line, copied):
    folder = copied()
    changed(folder, **fields)
    with pytest.raises(InputError, match=line) as caught:
        open_model(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(MEMBER_FILES - {"MODEL_CARD.md"}))
def test_a_truncated_file_is_one_line(name, copied):
    folder = copied()
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="is damaged: it is not the file"):
        open_model(folder)
    signed_again(folder, name, content[: len(content) // 2])
    with pytest.raises(InputError, match=r"damaged|no valid JSON"):
        open_model(folder)
    (folder / name).unlink()
    with pytest.raises(InputError, match="does not exist"):
        open_model(folder)


def test_a_link_out_of_the_folder_is_refused(copied, tmp_path):
    folder = copied()
    (tmp_path / "elsewhere").write_bytes((folder / "own.json").read_bytes())
    (folder / "own.json").unlink()
    (folder / "own.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="leads out of"):
        open_model(folder)


@pytest.mark.parametrize("folder", ["nothing", "empty", "file"])
def test_what_is_no_model_is_one_line(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is no folder of a model"):
        open_model(tmp_path / folder)


def test_settings_cannot_ask_for_memory(copied):
    folder = copied()
    settings = json.loads((folder / "settings.json").read_bytes())
    settings["model"]["dim"] = 10**12
    signed_again(folder, "settings.json", json.dumps(settings).encode())
    with pytest.raises(InputError, match=r"model\.dim is larger than any such size"):
        open_model(folder)
    settings["model"]["dim"] = 5
    signed_again(folder, "settings.json", json.dumps(settings).encode())
    with pytest.raises(InputError, match="its parts do not fit together"):
        open_model(folder)


def file_of(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(dtype="F32", shape=(1,), place=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(place)}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\0",
        file_of({}, length=2**63),
        file_of({}, length=100),
        file_of(b"[" * 4000),
        file_of(b'{"a": 1, "a": 2}'),
        file_of(b"\xff\xfe"),
        file_of([]),
        file_of({"a": tensor()}),
        file_of({"a": tensor()}, b"12345"),
        file_of({"a": tensor(), "b": tensor()}, b"1234"),
        file_of({"a": tensor(place=(4, 8))}, b"12345678"),
        file_of({"a": tensor(shape=(2**62, 2**62))}, b"1234"),
        file_of({"a": tensor(shape=(-1,))}, b"1234"),
        file_of({"a": tensor(shape=(1.0,))}, b"1234"),
        file_of({"a": tensor(shape=[1] * 9)}, b"1234"),
        file_of({"a": tensor("BF16", (2,))}, b"1234"),
        file_of({"a": {"dtype": "F32"}}, b"1234"),
    ],
)
def test_a_hostile_header_is_refused(content):
    """Before any library allocates what it asks for."""
    with pytest.raises(InputError, match=r"damaged|no valid JSON"):
        tensor_header(content, "file")


def test_an_honest_header_is_read():
    header = tensor_header(file_of({"a": tensor(), "__metadata__": {"x": "y"}}, b"1234"), "file")
    assert header["a"]["shape"] == [1]


@pytest.mark.parametrize(
    "tree",
    [
        [],
        {"products": [1], "labels": None},
        {"products": ["1"], "labels": None, "departments": None},
        {"products": [2, 1], "labels": None, "departments": None},
        {"products": [1], "labels": [], "departments": None},
        {"products": [1], "labels": [1], "departments": None},
        {"products": [2**63], "labels": None, "departments": None},
    ],
)
def test_a_damaged_vocabulary_is_refused(tree):
    with pytest.raises(InputError, match="file is damaged"):
        Vocabulary.from_tree(tree, "file")


def test_labels_go_there_and_back():
    words = Vocabulary(np.array([0, 2]), ("tea", "milk"), ("hot", "cold"))
    assert words.number("milk") == 2
    assert words.number("soap") == -1
    assert words.label(np.array([2, 0])).tolist() == ["milk", "tea"]
    assert Vocabulary.from_tree(words.tree(), "file").tree() == words.tree()
