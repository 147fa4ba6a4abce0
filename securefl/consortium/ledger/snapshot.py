"""A copy of an SQLite file, taken without writing in its folder and beside a process that writes.

SQLite itself cannot read like that: a connection with `mode=ro` makes a write-ahead log and its
index beside the file, or fails where it must not, and `immutable=1` is wrong once somebody writes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from securefl.errors import InputError, disk_error
from securefl.untrusted.files import MEBIBYTE, read_bytes

_LARGEST: Final = 64 * 1024 * MEBIBYTE
_TRIES: Final = 20
_HEADER: Final = 32
"""Bytes at the beginning of a write-ahead log; its salts change whenever it begins anew (SQLite,
"The WAL File Format")."""


def copy_file(source: Path, folder: Path, error: type[InputError]) -> Path:
    """Copy an SQLite file with what its write-ahead log holds, as of one moment.

    What is in the log is newer than the file, and a checkpoint takes it into the file before the
    log begins anew. A file that is copied before its log therefore lacks nothing, unless the log
    began anew or the file changed in between; then it is copied again.

    For processes that do not have the file open: POSIX ends all locks of a process on a file when
    it closes one of its descriptors.

    Args:
        source: The file.
        folder: An empty folder for the copy.
        error: What is raised.

    Returns:
        The copy, with its own write-ahead log beside it.

    Raises:
        InputError: If it is missing, is no regular file, cannot be read, or never holds still.
        UnwrittenError: If the disk does not take the copy.
    """
    for _ in range(_TRIES):
        before = _state(source, error)
        content, log = read_bytes(source, _LARGEST, error=error), _log(source, error)
        if _state(source, error) == before:
            return _written(folder / source.name, content, log)
    raise error(f"{source} is being written all the time; try again")


def _written(copy: Path, content: bytes, log: bytes) -> Path:
    try:
        copy.write_bytes(content)
        _beside(copy).write_bytes(log)
    except OSError as error:
        raise disk_error(copy, error) from None
    return copy


def _beside(path: Path) -> Path:
    """Return where SQLite keeps the write-ahead log of a file."""
    return path.with_name(f"{path.name}-wal")


def _log(path: Path, error: type[InputError]) -> bytes:
    beside = _beside(path)
    try:
        return read_bytes(beside, _LARGEST, error=error) if beside.exists() else b""
    except error:
        if beside.exists():
            raise
        return b""  # its last user ended


def _state(path: Path, error: type[InputError]) -> tuple[bytes, list[int]]:
    """Return what differs if a copy that was begun before is not of one moment."""
    found = [path.stat()] if path.exists() else []
    return _log(path, error)[:_HEADER], [n for s in found for n in (s.st_mtime_ns, s.st_size)]
