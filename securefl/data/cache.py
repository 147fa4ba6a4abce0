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
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pandas as pd
import pyarrow as pa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from securefl.data.paged import blocks, mapped_file
from securefl.data.threads import by_threads

_log = logging.getLogger(__name__)
_DIGITS = 32
_KEY = 16
_TAG = 16
_NOTE = b"securefl"
_AT_A_TIME = 16 << 20
_BUFFER = 1 << 20
_FORMAT = "3"

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
        whole = hashlib.sha256()
        parts = range(0, file.stat().st_size, _AT_A_TIME)
        for part in by_threads(partial(_digest_of_part, file), parts):
            whole.update(part)
        state.update(whole.digest())
    state.update(repr(options).encode())
    return state.hexdigest()


def _digest_of_part(file: Path, begin: int) -> bytes:
    """Return SHA-256 of the part of a file that begins at a byte; each thread reads its own."""
    state, buffer, left = hashlib.sha256(), memoryview(bytearray(_BUFFER)), _AT_A_TIME
    # Read and not mapped: a file that another program shortens would end this one.
    with file.open("rb", buffering=0) as stream:
        stream.seek(begin)
        while left and (got := stream.readinto(buffer[:left])):
            state.update(buffer[:got])
            left -= got
    return state.digest()


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


class _Checksum:
    """GMAC (NIST SP 800-38D) of a file's content: a tenth of the time of SHA-256.

    The key is drawn for each file and stands beside the tag. Damage, which does not depend on the
    key, is missed with a probability of at most 2^-128 a block of 16 bytes. It is no signature: who
    can write this user's files could write a matching digest of any kind.

    Args:
        key: 16 random bytes, of this file alone.
    """

    def __init__(self, key: bytes) -> None:
        # A nonce has to be new for each content under one key, and there is only one.
        self._state = Cipher(algorithms.AES128(key), modes.GCM(bytes(12))).encryptor()

    def update(self, part: memoryview) -> None:
        """Add what follows, which is shorter than 2^31 bytes."""
        self._state.authenticate_additional_data(part)

    def tag(self) -> bytes:
        """Return the tag, 16 bytes; nothing can be added afterwards."""
        self._state.finalize()
        return self._state.tag


class _Checked(io.RawIOBase):
    """A file that computes the checksum of what is written to it.

    What is written can itself lie in a file: see `paged`.
    """

    def __init__(self, file: BinaryIO, checksum: _Checksum) -> None:
        self._file = file
        self._checksum = checksum

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, content: bytes) -> int:  # type: ignore[override]
        """Write, and add to the checksum."""
        whole = memoryview(content).cast("B")
        for part in _parts(whole):
            self._checksum.update(part)
            self._file.write(part)
        return len(whole)


def _parts(content: memoryview) -> Iterator[memoryview]:
    """Yield a content part by part; what was read of mapped files is released after each."""
    return (content[span] for span in blocks(len(content), _AT_A_TIME))


def _read(path: Path) -> tuple[pd.DataFrame, str] | None:
    try:
        with path.open("rb") as file:
            content = memoryview(mapped_file(file, path.stat().st_size))
        body, key, tag = content[: -_KEY - _TAG], content[-_KEY - _TAG : -_TAG], content[-_TAG:]
        if len(tag) < _TAG or len(key) < _KEY:
            raise ValueError("it is cut off")
        checksum = _Checksum(bytes(key))
        for part in _parts(body):
            checksum.update(part)
        if checksum.tag() != tag:
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
    is Arrow's file format, which needs no conversion, then the key and the tag of `_Checksum`.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    os.close(handle)
    try:
        rows = pa.Table.from_pandas(table, preserve_index=False)
        rows = rows.replace_schema_metadata({**(rows.schema.metadata or {}), _NOTE: note.encode()})
        key = os.urandom(_KEY)
        checksum = _Checksum(key)
        with Path(name).open("wb") as file:
            with pa.ipc.new_file(_Checked(file, checksum), rows.schema) as writer:
                writer.write_table(rows)
            file.write(key + checksum.tag())
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _prune(folder: Path, name: str, kept: int) -> None:
    """Digests change with the code; without this every release would leave its tables behind."""
    entries = list(folder.glob(f"{name}-{'[0-9a-f]' * _DIGITS}.arrow"))
    entries.sort(key=lambda entry: entry.stat().st_mtime_ns, reverse=True)
    for entry in entries[kept:]:
        entry.unlink(missing_ok=True)
