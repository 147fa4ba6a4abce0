"""Tensor files: safetensors with a digest, written atomically.

Torch is imported where a tensor is read or written, and not before: it takes a second, and a party
that only relays, journals or sums has no tensors.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import safetensors

from securefl.errors import InputError, RunDirectoryError, disk_error
from securefl.untrusted.files import MEBIBYTE, check_regular, read_bytes, taken
from securefl.untrusted.tensors import tensor_header

if TYPE_CHECKING:
    from torch import Tensor

_LARGEST = 64 * 1024 * MEBIBYTE
"""Most bytes of a model or checkpoint, which is read whole."""

_DIGEST = "sha256"
_METADATA = "securefl"
"""One entry holds all metadata as JSON: the format writes several in random order, and the same
content shall be the same bytes."""


def write_atomically(path: Path, content: bytes, *, private: bool = False) -> None:
    """Replace a file's content; a kill at any point leaves the old file or the new one.

    Args:
        path: The file.
        content: Its new content.
        private: Whether its owner alone may read it.

    Raises:
        UnwrittenError: If the disk takes nothing now; `StorageFullError` if it is full.
        UnwritableError: If the file cannot be written at all.
    """
    temporary = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            if private:  # before there is anything to be read
                temporary.chmod(0o600)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):  # a part of a file would keep the disk full
            temporary.unlink(missing_ok=True)
        raise disk_error(path, error) from None


def try_room(place: Path, size: int) -> None:
    """Write so many bytes to a file of no other use, and delete it.

    Raises:
        UnwrittenError: If the disk does not take them now.
        UnwritableError: If nothing can be written there at all.
    """
    write_atomically(place, bytes(size), private=True)
    delete(place)


def delete(path: Path) -> None:
    """Delete a file, which may be gone already.

    Raises:
        UnwrittenError: If the disk takes nothing now.
        UnwritableError: If the file cannot be deleted at all.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise disk_error(f"{path}, which is to be deleted", error) from None


def refuse_taken(folder: Path) -> None:
    """Refuse a place where something lies, before work is done for a new folder there.

    Raises:
        RunDirectoryError: If it is neither free nor an empty folder, or cannot be looked at.
    """
    try:
        free = not taken(folder) or (
            folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())
        )
    except OSError as error:
        raise RunDirectoryError(f"{folder} cannot be written: {error.strerror}") from None
    if not free:
        raise RunDirectoryError(f"{folder} exists; nothing was written")


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a new folder of files; a kill at any point leaves all of them or none.

    Raises:
        RunDirectoryError: If something is there already, or it cannot be written.
    """
    refuse_taken(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as begun:
            whole = Path(begun) / "new"
            whole.mkdir()
            for name, content in files.items():
                write_atomically(whole / name, content)
            # Replaces an empty folder, and fails where there is anything else.
            whole.rename(folder)
    except OSError as error:
        raise RunDirectoryError(f"{folder} cannot be written: {error.strerror}") from None


def read_whole(path: Path) -> bytes:
    """Return a file's content.

    Raises:
        RunDirectoryError: If it cannot be read.
    """
    return read_bytes(path, _LARGEST, error=RunDirectoryError)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write named tensors with metadata and a digest over both.

    Raises:
        RunDirectoryError: If the file cannot be written.
    """
    write_atomically(path, packed_tensors(tensors, metadata))


def packed_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return the content of a file of `write_tensors`."""
    from safetensors.torch import save

    # Copies, because the format refuses tensors that share memory (the best round may be the last).
    plain = {
        name: tensor.detach().to("cpu").contiguous().clone() for name, tensor in tensors.items()
    }
    signed = {**metadata, _DIGEST: digest_tensors(plain, metadata)}
    entry = {_METADATA: json.dumps(signed, sort_keys=True)}
    return bytes(save(plain, metadata=entry))


def unpacked_tensors(content: bytes, where: str) -> dict[str, Tensor]:
    """Return the tensors of a file of another party, from its content.

    Raises:
        InputError: If it is damaged or not of this kind.
    """
    from safetensors.torch import load

    tensor_header(content, where)
    try:
        tensors: dict[str, Tensor] = load(content)
    except (safetensors.SafetensorError, ValueError, KeyError):
        raise InputError(f"{where} is damaged: no safetensors file") from None
    return tensors


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what `write_tensors` wrote.

    Raises:
        RunDirectoryError: If the file is missing, damaged or not of this kind.
    """
    check_regular(path, _LARGEST, error=RunDirectoryError)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            entry = json.loads((file.metadata() or {}).get(_METADATA, "{}"))
            metadata: dict[str, str] = dict(entry)
    except (OSError, safetensors.SafetensorError, ValueError):
        raise RunDirectoryError(f"{path} is damaged: no safetensors file") from None
    expected = metadata.pop(_DIGEST, None)
    if expected != digest_tensors(tensors, metadata):
        raise RunDirectoryError(f"{path} is damaged: its digest does not match its content")
    return tensors, metadata


def digest_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Return SHA-256 over names, types, shapes, values and metadata, in sorted order."""
    import torch

    digest = hashlib.sha256()
    for key in sorted(metadata):
        digest.update(f"{key}={metadata[key]}\0".encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name}:{tensor.dtype}:{list(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
