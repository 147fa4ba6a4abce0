"""Prepared tables kept on disk, under a digest of everything that they follow from.

The cache can only save time: a damaged entry is rebuilt, and a folder that cannot be written is a
line in the log.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pandas as pd
import pyarrow as pa

from securefl.data.paged import blocks, mapped_file, release
from securefl.data.threads import by_threads

_log = logging.getLogger(__name__)
_DIGITS = 32
_SHA256 = 32
_NOTE = b"securefl"
_AT_A_TIME = 16 << 20
_FORMAT = "2"

KEPT = 8
"""Entries of one name that stay when another is written: the most recently written ones."""


def cache_folder() -> Path:
    """`$SECUREFL_CACHE`, else `$XDG_CACHE_HOME/securefl`, else `~/.cache/securefl`.

    Raises:
        RuntimeError: None of the variables is set and this user has no home.
    """
    own = os.environ.get("SECUREFL_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "securefl"


def digest(files: Iterable[Path], *options: object) -> str:
    """Return a hexadecimal digest of the contents of `files`, in order, and the options' `repr`."""
    state = hashlib.sha256()
    for file in files:
        # Read and not mapped: a file that another program shortens would end this one.
        with file.open("rb") as stream:
            state.update(_digest_of(iter(partial(stream.read, _AT_A_TIME), b"")))
    state.update(repr(options).encode())
    return state.hexdigest()


def cached(name: str, key: str, build: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Return the table stored as `name` under `key`; built, and then stored, where there is none.

    Args:
        name: The table's name, the readable part of the file's.
        key: A digest of everything that the table follows from.
        build: Makes the table; its result survives the round trip through Arrow unchanged.
    """
    return cached_with_note(name, key, lambda: (build(), ""))[0]


def cached_with_note(
    name: str, key: str, build: Callable[[], tuple[pd.DataFrame, str]], kept: int = KEPT
) -> tuple[pd.DataFrame, str]:
    """Return a table, and a text that was stored with it; see `cached`.

    Args:
        name: As for `cached`.
        key: As for `cached`.
        build: Makes both.
        kept: Entries of this name that stay.
    """
    try:
        folder = cache_folder()
    except RuntimeError as problem:
        _log.info("prepared tables are not cached: %s", problem)
        return build()
    of_format = hashlib.sha256(f"{_FORMAT} {key}".encode()).hexdigest()
    path = folder / f"{name}-{of_format[:_DIGITS]}.arrow"
    stored = _read(path)
    if stored is not None:
        return stored
    table, note = build()
    try:
        _write(table, note, path)
        _prune(folder, name, kept)
    except OSError as problem:
        _log.info("prepared tables are not cached in %s: %s", folder, problem)
    return table, note


class _Hashed(io.RawIOBase):
    """A file that knows the digest of what was written to it; see `_digest_of`.

    What is written can itself lie in a file: see `paged`.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._whole = hashlib.sha256()
        self._state = hashlib.sha256()
        self._left = _AT_A_TIME

    @property
    def digest(self) -> bytes:
        """Digest of everything so far, of which there is some."""
        whole = self._whole.copy()
        if self._left < _AT_A_TIME:
            whole.update(self._state.digest())
        return whole.digest()

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, content: bytes) -> int:  # type: ignore[override]
        """Write and hash."""
        rest = memoryview(content).cast("B")
        size = len(rest)
        while len(rest):
            part, rest = rest[: self._left], rest[self._left :]
            self._state.update(part)
            self._file.write(part)
            self._left -= len(part)
            if not self._left:
                self._whole.update(self._state.digest())
                self._state, self._left = hashlib.sha256(), _AT_A_TIME
                release()
        return size


def _digest_of(parts: Iterable[memoryview | bytes]) -> bytes:
    """Return SHA-256 of the digests of parts, of which several threads compute some each."""
    whole = hashlib.sha256()
    for part in by_threads(lambda part: hashlib.sha256(part).digest(), parts):
        whole.update(part)
    return whole.digest()


def _read(path: Path) -> tuple[pd.DataFrame, str] | None:
    try:
        with path.open("rb") as file:
            content = memoryview(mapped_file(file, path.stat().st_size))
        body, found = content[:-_SHA256], content[-_SHA256:]
        if _digest_of(body[span] for span in blocks(len(body), _AT_A_TIME)) != found:
            raise ValueError("it is not what was written")
        table = pa.ipc.open_file(pa.py_buffer(body)).read_all()
        note = (table.schema.metadata or {}).get(_NOTE, b"").decode()
        frame: pd.DataFrame = table.to_pandas(split_blocks=True)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, pa.ArrowException) as problem:
        _log.warning("cache entry %s is damaged and is rebuilt: %s", path, problem)
        return None
    return frame, note


def _write(table: pd.DataFrame, note: str, path: Path) -> None:
    """Write beside the final name and rename, so that no reader ever sees half a file.

    The file is this user's alone (0600, as `mkstemp` makes it), and so is a folder that is new. It
    is Arrow's file format, which needs no conversion, and the digest of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    os.close(handle)
    try:
        rows = pa.Table.from_pandas(table, preserve_index=False)
        rows = rows.replace_schema_metadata({**(rows.schema.metadata or {}), _NOTE: note.encode()})
        with Path(name).open("wb") as file:
            out = _Hashed(file)
            with pa.ipc.new_file(out, rows.schema) as writer:
                writer.write_table(rows)
            file.write(out.digest)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _prune(folder: Path, name: str, kept: int) -> None:
    """Digests change with the code; without this every release would leave its tables behind."""
    entries = list(folder.glob(f"{name}-{'[0-9a-f]' * _DIGITS}.arrow"))
    entries.sort(key=lambda entry: entry.stat().st_mtime_ns, reverse=True)
    for entry in entries[kept:]:
        entry.unlink(missing_ok=True)
