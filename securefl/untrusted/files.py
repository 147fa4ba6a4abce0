"""Reading of files that other parties wrote, within a size and of one kind.

A name can lead to a pipe that never ends, to a device, to a sparse file of a terabyte, or to a
link into another folder. Kind and size are checked on the open descriptor, before a byte is read,
so that a file cannot be exchanged in between; what is read is bounded all the same, since the
files of /proc claim to be empty.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from securefl.errors import InputError
from securefl.untrusted.ownership import WITHOUT_WAITING

KIBIBYTE: Final = 1 << 10
MEBIBYTE: Final = 1 << 20
SMALL: Final = 4 * MEBIBYTE
"""Most bytes of a file that persons write or look at: a configuration, a card, an agreement."""

_BEGINNING: Final = 4096
"""Bytes of a file in which the mark of its kind stands."""


def read_bytes(
    path: Path,
    largest: int,
    *,
    error: type[InputError] = InputError,
    inside: Path | None = None,
) -> bytes:
    """Return the content of a regular file.

    Args:
        path: The file, or a link to it.
        largest: Most bytes that it may have.
        error: What is raised.
        inside: Folder that the file has to be in, once links are followed.

    Raises:
        InputError: If it is missing, unreadable, no regular file, larger, or elsewhere.
    """
    try:
        if inside is not None:
            _check_inside(path, inside, error)
        with os.fdopen(os.open(path, WITHOUT_WAITING), "rb") as file:
            state = os.fstat(file.fileno())
            _check_kind(path, state.st_mode, error)
            if state.st_size > largest:
                raise error(f"{path} is larger than any such file: {_size(largest)} at most")
            _check_stored(path, state, error)
            # Reading allocates what it is asked for: the size that the file has, and not the limit.
            most = min(largest, max(state.st_size, MEBIBYTE))
            content = file.read(most + 1)
    except FileNotFoundError:
        raise error(f"{path} does not exist") from None
    except (OSError, ValueError) as problem:  # ValueError: a null byte in the name
        raise error(f"{path} cannot be read: {_reason(problem)}") from None
    if len(content) > most:
        raise error(f"{path} is larger than any such file: {_size(largest)} at most")
    return content


def read_text(
    path: Path,
    largest: int,
    *,
    error: type[InputError] = InputError,
    inside: Path | None = None,
) -> str:
    """Return the text of a regular UTF-8 file; see `read_bytes`.

    Raises:
        InputError: As in `read_bytes`, or if it is no UTF-8 text.
    """
    try:
        return read_bytes(path, largest, error=error, inside=inside).decode()
    except UnicodeDecodeError:
        raise error(f"{path} cannot be read: it is no UTF-8 text") from None


_BLOCK = 512
"""Bytes of a block of `st_blocks` (POSIX)."""
_HOLES = 1000
"""A file of which less than one part in so many is stored is sparse; none compresses that well."""


def check_regular(
    path: Path, largest: int | None = None, *, error: type[InputError] = InputError
) -> None:
    """Refuse what another library is about to open unless it is a regular file.

    Raises:
        InputError: If it is missing, unreadable, of another kind, or larger.
    """
    try:
        state = path.stat()
    except FileNotFoundError:
        raise error(f"{path} does not exist") from None
    except (OSError, ValueError) as problem:
        raise error(f"{path} cannot be read: {_reason(problem)}") from None
    _check_kind(path, state.st_mode, error)
    _check_stored(path, state, error)
    if largest is not None and state.st_size > largest:
        raise error(f"{path} is larger than any such file: {_size(largest)} at most")


def taken(path: Path) -> bool:
    """Return whether anything lies at a path; a link that leads nowhere does."""
    return path.exists() or path.is_symlink()


def check_new(path: Path) -> None:
    """Refuse a place where a new file cannot be made, before the work that fills it.

    Raises:
        InputError: If something is there, or its folder is missing or cannot be written to.
    """
    if taken(path):
        raise InputError(f"{path} exists; nothing was written")
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: {path.parent} is no folder")
    check_folder(path)


def check_folder(path: Path) -> None:
    """Refuse a place in a folder that cannot be written to, such as an archived run's.

    Raises:
        InputError: If it cannot.
    """
    folder = path.parent
    if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(
            f"cannot write {path}: no permission to write in {folder}; name another place (--out)"
        )


def replaceable(path: Path, mark: bytes, other: str = "something else") -> None:
    """Refuse to replace a file that does not begin as what would be written in its place.

    A wrong `--out` must not destroy a ledger, a model or anything else of its user's.

    Args:
        path: Where a file is to be written.
        mark: Bytes in the first 4 kB of every file of its kind.
        other: What a file without the mark is.

    Raises:
        InputError: If something else is there.
    """
    if not taken(path):
        return
    try:
        ours = path.is_file() and not path.is_symlink()
        if ours:
            with path.open("rb") as file:
                ours = mark in file.read(_BEGINNING)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    if not ours:
        raise InputError(f"{path} exists and is {other}; nothing was written")


def _check_inside(path: Path, folder: Path, error: type[InputError]) -> None:
    if not path.resolve().is_relative_to(folder.resolve()):
        raise error(f"{path} leads out of {folder}")


def _check_kind(path: Path, mode: int, error: type[InputError]) -> None:
    if stat.S_ISDIR(mode):
        raise error(f"{path} cannot be read: Is a directory")
    if not stat.S_ISREG(mode):
        raise error(f"{path} is no regular file")


def _check_stored(path: Path, state: os.stat_result, error: type[InputError]) -> None:
    """Refuse a file of holes: a terabyte of them takes no room on the disk, and hours to read."""
    held = getattr(state, "st_blocks", state.st_size) * _BLOCK
    if state.st_size > MEBIBYTE and held * _HOLES < state.st_size:
        raise error(f"{path} is a sparse file: next to nothing of its content is on the disk")


def _reason(problem: Exception) -> str:
    return getattr(problem, "strerror", None) or str(problem)


def _size(count: int) -> str:
    if count < MEBIBYTE:
        return f"{count // KIBIBYTE:,} KiB"
    return f"{count // MEBIBYTE:,} MiB"
