"""DuckDB, opened so that a foreign file or query reaches nothing but what it was given."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import duckdb

BATCH: Final = 1 << 20
"""Lines that are fetched at a time."""

_GIBIBYTE: Final = 1 << 30
_LARGEST: Final = 3 * _GIBIBYTE
_SMALL: Final = 4 << 20
_TYPES: Final = {
    "TINYINT": "int8",
    "SMALLINT": "int16",
    "INTEGER": "int32",
    "BIGINT": "int64",
    "UBIGINT": "uint64",
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "BOOLEAN": "bool",
    "DATE": "dates",
    "BLOB": "bytes",
}
"""What a data type of the engine is called in an error."""


def memory_limit() -> int:
    """Return the bytes that the engine may use: a quarter of the machine's, 3 GiB at most.

    What does not fit goes to a file in a folder of its own, so a small limit costs time only.
    """
    if not hasattr(os, "sysconf"):  # Windows
        return _LARGEST
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(min(machine // 4, _LARGEST), _GIBIBYTE // 4)


@contextmanager
def engine(
    paths: Sequence[Path], attach: Path | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an engine that may read `paths`, and nothing else on this machine or any other.

    No extension is installed or loaded, no file is written but in a temporary folder of this user
    alone (removed at the end), and no setting can be changed afterwards: a query from a
    configuration that others drafted runs in here.

    Args:
        paths: Files to read.
        attach: A DuckDB file to open, read-only, as the default database.
    """
    import duckdb

    large = attach is not None or sum(path.stat().st_size for path in paths) > _SMALL
    with tempfile.TemporaryDirectory(prefix="securefl-", ignore_cleanup_errors=True) as folder:
        options: dict[str, str | bool | int | float | list[str]] = {
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "allow_unsigned_extensions": "false",
            "allow_persistent_secrets": "false",
            "memory_limit": f"{memory_limit()}B",
            "threads": str((os.cpu_count() or 1) if large else 1),
            "temp_directory": folder,
            "preserve_insertion_order": "true",
        }
        connection = duckdb.connect(":memory:", config=options)
        try:
            if attach is not None:
                connection.execute(f"ATTACH {text(str(attach))} AS member (READ_ONLY)")
            allowed = ", ".join(text(str(path)) for path in paths)
            connection.execute(f"SET allowed_paths = [{allowed}]")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET python_enable_replacements = false")
            connection.execute("SET enable_progress_bar = false")
            connection.execute("SET lock_configuration = true")
            if attach is not None:
                connection.execute("USE member")
            yield connection
        finally:
            connection.close()


def text(value: str) -> str:
    """Return a string as a literal of SQL."""
    return "'" + value.replace("'", "''") + "'"


def name(value: str) -> str:
    """Return a column's name as an identifier of SQL."""
    return '"' + value.replace('"', '""') + '"'


def select(cells: str, relation: str, rest: str = "") -> str:
    """Return a query; every name and text in its parts went through `name` or `text`."""
    return f"SELECT {cells} FROM {relation} {rest}"  # noqa: S608 - quoted, and locked in besides


def type_name(kind: str) -> str:
    """Return what a data type of the engine is called in an error."""
    return _TYPES.get(kind, kind.lower())
