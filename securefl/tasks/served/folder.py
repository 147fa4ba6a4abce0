"""The folder of a model: written whole or not at all, and read within limits."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from securefl.errors import InputError, RunDirectoryError
from securefl.tasks.served.manifest import MANIFEST, Manifest, manifest_of
from securefl.untrusted.documents import parse_json, read_json
from securefl.untrusted.files import MEBIBYTE, SMALL, read_bytes, taken

FOLDER: Final = "model"
"""Name of a member's model in its own folder."""

_LARGEST: Final = 8 * 1024 * MEBIBYTE
_LARGEST_TEXT: Final = 512 * MEBIBYTE


def json_bytes(tree: Any) -> bytes:  # noqa: ANN401 - JSON of any type
    """Return JSON, the same bytes for the same content."""
    text = json.dumps(tree, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def write_folder(
    folder: Path, manifest: Manifest, files: Mapping[str, bytes], *, private: bool
) -> None:
    """Replace a model's folder; a kill at any point leaves the old one, the new one, or none.

    Args:
        folder: The folder.
        manifest: What it says of itself; the files' digests are put in here.
        files: File to content.
        private: Whether its owner alone may read it.

    Raises:
        RunDirectoryError: If it cannot be written.
    """
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    tree = manifest.model_copy(update={"files": digests}).model_dump(mode="json")
    beside = folder.with_name(f".{folder.name}.partial")
    before = folder.with_name(f".{folder.name}.before")
    try:
        _remove(beside)
        beside.mkdir(parents=True, mode=0o700 if private else 0o755)
        for name, content in {**files, MANIFEST: _readable(tree)}.items():
            _write(beside / name, content, 0o600 if private else 0o644)
        _remove(before)
        if folder.exists():
            folder.rename(before)
        beside.rename(folder)
        _remove(before)
    except OSError as error:
        raise RunDirectoryError(f"cannot write {folder}: {error.strerror}") from None


def write_new_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a new folder that its owner alone may read.

    Raises:
        InputError: If it exists or cannot be written.
    """
    beside = folder.with_name(f".{folder.name}.partial")
    try:
        refuse_existing(folder)
        _remove(beside)
        beside.mkdir(mode=0o700)
        for name, content in files.items():
            _write(beside / name, content, 0o600)
        beside.rename(folder)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}") from None


def refuse_existing(path: Path) -> None:
    """Refuse a place where something lies.

    Raises:
        InputError: If anything does, a link to nothing included.
    """
    if taken(path):
        raise InputError(f"{path} exists; nothing was written")


def read_manifest(folder: Path) -> Manifest:
    """Return what a model's folder says of itself.

    Raises:
        InputError: If it is no folder of a model, or its manifest is damaged.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder of a model")
    path = folder / MANIFEST
    if not path.exists():
        raise InputError(f"{folder} is no folder of a model: it has no {MANIFEST}{_meant(folder)}")
    return manifest_of(read_json(path, SMALL), str(path))


def read_file(folder: Path, manifest: Manifest, name: str) -> bytes:
    """Return a file of a model's folder, whose digest is as listed.

    Raises:
        InputError: If it is missing, leads out of the folder, or is another one.
    """
    path = folder / name
    content = read_bytes(path, _LARGEST, inside=folder)
    if hashlib.sha256(content).hexdigest() != manifest.files[name]:
        raise InputError(f"{path} is damaged: it is not the file that {MANIFEST} lists")
    return content


def read_tree(folder: Path, manifest: Manifest, name: str) -> Any:  # noqa: ANN401 - JSON
    """Return the JSON value in a file of a model's folder.

    Raises:
        InputError: See `read_file`; also if it is no JSON.
    """
    path, content = folder / name, read_file(folder, manifest, name)
    if len(content) > _LARGEST_TEXT:
        raise InputError(f"{path} is larger than any such file")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise InputError(f"{path} is damaged: it is no UTF-8 text") from None
    return parse_json(text, str(path))


def _meant(folder: Path) -> str:
    """Return where the model is, in the folder of a member or of a run."""
    if (folder / "model" / MANIFEST).exists():
        return f"; did you mean {folder / 'model'}?"
    inside = (folder / "members").is_dir()
    return f"; a member's is {folder / 'members' / 'NAME' / 'model'}" if inside else ""


def _readable(tree: Mapping[str, Any]) -> bytes:
    return (json.dumps(tree, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
