import pytest
import torch

from securefl.errors import RunDirectoryError
from securefl.ml.tensor_io import read_tensors, write_tensors

TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([1, 2], dtype=torch.int64)}


def test_tensors_come_back(tmp_path):
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS, {"round": "3"})
    tensors, metadata = read_tensors(path)
    assert metadata == {"round": "3"}
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


@pytest.mark.parametrize("position", [4, 40, -3])
def test_one_changed_byte_is_noticed(tmp_path, position):
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS, {})
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunDirectoryError, match="damaged"):
        read_tensors(path)


def test_a_truncated_file_is_noticed(tmp_path):
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS, {})
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(RunDirectoryError, match="damaged"):
        read_tensors(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RunDirectoryError, match="does not exist"):
        read_tensors(tmp_path / "none.safetensors")


def test_an_unwritable_place_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match="cannot write"):
        write_tensors(tmp_path / "file" / "x.safetensors", TENSORS, {})
