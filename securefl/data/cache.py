"""Prepared tables kept on disk, under a digest of everything that they follow from.

The cache can only save time: a damaged entry is rebuilt, and a folder that cannot be written is a
line in the log.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

_log = logging.getLogger(__name__)
_DIGITS = 32

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
    """Hexadecimal SHA-256 over the contents of `files`, in order, and the options' `repr`."""
    state = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            state.update(hashlib.file_digest(stream, "sha256").digest())
    state.update(repr(options).encode())
    return state.hexdigest()


def cached(name: str, key: str, build: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Return the table stored as `name` under `key`; built, and then stored, where there is none.

    Args:
        name: The table's name, the readable part of the file's.
        key: A digest of everything that the table follows from.
        build: Makes the table; its result survives the round trip through Parquet unchanged.
    """
    try:
        folder = cache_folder()
    except RuntimeError as problem:
        _log.info("prepared tables are not cached: %s", problem)
        return build()
    path = folder / f"{name}-{key[:_DIGITS]}.parquet"
    stored = _read(path)
    if stored is not None:
        return stored
    table = build()
    try:
        _write(table, path)
        _prune(folder, name)
    except OSError as problem:
        _log.info("prepared tables are not cached in %s: %s", folder, problem)
    return table


def _read(path: Path) -> pd.DataFrame | None:
    try:
        frame: pd.DataFrame = pq.read_table(
            path, memory_map=False, page_checksum_verification=True
        ).to_pandas()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, pa.ArrowException) as problem:
        _log.warning("cache entry %s is damaged and is rebuilt: %s", path, problem)
        return None
    return frame


def _write(table: pd.DataFrame, path: Path) -> None:
    """Write beside the final name and renames, so that no reader ever sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    os.close(handle)
    try:
        rows = pa.Table.from_pandas(table, preserve_index=False)
        pq.write_table(rows, name, write_page_checksum=True)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _prune(folder: Path, name: str) -> None:
    """Digests change with the code; without this every release would leave its tables behind."""
    entries = list(folder.glob(f"{name}-{'[0-9a-f]' * _DIGITS}.parquet"))
    entries.sort(key=lambda entry: entry.stat().st_mtime_ns, reverse=True)
    for entry in entries[KEPT:]:
        entry.unlink(missing_ok=True)
