"""A member's lines from a query of its database, which can do nothing there but read."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

import pyarrow as pa

from securefl.config.data import MemberFiles
from securefl.data.sources.files.engine import engine, name
from securefl.data.sources.files.scans import Scan, described, unreadable
from securefl.errors import DataError, InputError, needs_extra
from securefl.untrusted.files import check_regular

if TYPE_CHECKING:
    import duckdb

_BATCH: Final = 100_000
_START: Final = re.compile(r"\s*(?:select|with)\b", re.IGNORECASE)
_SQLITE: Final = b"SQLite format 3\0"
_READ_ONLY: Final = "-c default_transaction_read_only=on"
_ALLOWED: Final = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}


def query_scan(member: MemberFiles, root: Path) -> Generator[Scan, None, None]:
    """Yield the one scan of a query, open in an engine.

    The query comes from a configuration that others may have drafted: it is one SELECT, run in a
    transaction that cannot write, and where the engine runs it, it reaches no other file.

    Raises:
        InputError: It is no SELECT, the database is missing, or its driver.
        DataError: The database refuses the query.
    """
    label, database = f"database of {member.name}", str(member.database)
    query = member.transactions.strip().rstrip(";")
    if not _START.match(query):
        raise InputError(f"{label}: transactions must be a query that begins with SELECT or WITH")
    if database.startswith(("postgresql://", "postgres://")):
        opened = _postgres(label, database, query)
    else:
        path = root / database
        check_regular(path)
        opened = (_sqlite if _is_sqlite(path) else _duckdb)(label, path, query)
    with opened as scan:
        yield described(scan)


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


@contextmanager
def _duckdb(label: str, path: Path, query: str) -> Iterator[Scan]:
    import duckdb

    try:
        with engine([path], attach=path) as connection:
            statements = connection.extract_statements(query)
            if [one.type for one in statements] != [duckdb.StatementType.SELECT]:
                raise InputError(f"{label}: transactions must be one SELECT")
            yield Scan(label, connection, f"({query}\n)", {})
    except (duckdb.IOException, duckdb.ParserException) as problem:
        raise unreadable(label, problem) from problem


@contextmanager
def _sqlite(label: str, path: Path, query: str) -> Iterator[Scan]:
    uri = f"file:{quote(str(path.resolve()))}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as source, engine([]) as connection:
            source.set_authorizer(_only_reads)
            cursor = source.execute(query)
            names = [column[0] for column in cursor.description]
            _stage(connection, names, _text_batches(cursor, names))
            yield Scan(label, connection, "lines", {})
    except (sqlite3.Error, sqlite3.Warning) as problem:
        raise unreadable(label, problem) from problem


def _only_reads(action: int, *what: str | None) -> int:
    """Let SQLite read tables, and neither write nor open another file."""
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY


def _text_batches(cursor: sqlite3.Cursor, names: list[str]) -> Iterator[pa.Table]:
    while rows := cursor.fetchmany(_BATCH):
        columns = [
            pa.array([_text(row[n]) for row in rows], pa.string()) for n in range(len(names))
        ]
        yield pa.table(columns, names=names)


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        raise DataError("a cell of the query holds bytes, wanted text or numbers")
    return None if value is None else str(value)


def _stage(
    connection: duckdb.DuckDBPyConnection, names: list[str], batches: Iterator[pa.Table]
) -> None:
    """Write what a database sends into a table of the engine, which spills to disk."""
    columns = ", ".join(f"{name(column)} VARCHAR" for column in names)
    connection.execute(f"CREATE TEMP TABLE lines ({columns})")
    for batch in batches:
        connection.register("batch", batch)
        connection.execute("INSERT INTO lines SELECT * FROM batch")
        connection.unregister("batch")


@contextmanager
def _postgres(label: str, uri: str, query: str) -> Iterator[Scan]:
    import duckdb

    try:
        from adbc_driver_manager import Error
        from adbc_driver_postgresql import dbapi
    except ImportError:
        raise needs_extra("adbc_driver_postgresql", f"{label}: PostgreSQL") from None
    mark = "&" if urlsplit(uri).query else "?"
    try:
        with (
            dbapi.connect(f"{uri}{mark}options={quote(_READ_ONLY)}") as source,
            source.cursor() as cursor,
            engine([]) as connection,
        ):
            cursor.execute(query)
            reader = cursor.fetch_record_batch()
            plain = pa.schema([pa.field(f.name, _plain(f.type)) for f in reader.schema])
            batches = (_storage(batch, plain) for batch in reader)
            source_reader = pa.RecordBatchReader.from_batches(plain, batches)
            connection.register("query", source_reader)
            connection.execute("CREATE TEMP TABLE lines AS SELECT * FROM query")
            connection.unregister("query")
            yield Scan(label, connection, "lines", {})
    except (Error, duckdb.Error, pa.ArrowException) as problem:
        raise unreadable(label, problem) from problem


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return the type below an extension: the driver sends NUMERIC as text of its own type."""
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _storage(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = [
        column.storage if isinstance(column, pa.ExtensionArray) else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
