"""Every kind of table as something that the engine can read, under the names that it has there."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq

from securefl.config.files import FileFormat
from securefl.data.schema import Origin
from securefl.data.sources.files.csv_dialect import MIXED, CsvDialect, csv_dialect, transcode
from securefl.data.sources.files.csv_lines import LinesAlone
from securefl.data.sources.files.engine import engine, name, select, text
from securefl.data.sources.files.expressions import is_number, is_text
from securefl.data.sources.files.locate import TableFile, unpacked
from securefl.errors import DataError, InputError

if TYPE_CHECKING:
    import duckdb

REJECTS: Final = "reject_errors"
_JSON_LINE: Final = 16 << 20


@dataclass(frozen=True)
class Scan:
    """One file, or one query, open in an engine.

    Attributes:
        label: What it is called in an error.
        connection: The engine.
        relation: What stands after FROM.
        types: Column's name to the engine's data type, in the order of the table.
        numeric: Columns of text here whose cells are numbers in the file: how it writes numbers
            does not matter for them.
        said: How it is written, for a person; empty where there is nothing to say.
        dialect: How it is written, of a CSV file.
        zones: Column's name to the time zone of its clock, where the file says one.
    """

    label: str
    connection: duckdb.DuckDBPyConnection
    relation: str
    types: dict[str, str]
    numeric: frozenset[str] = frozenset()
    said: str = ""
    dialect: CsvDialect | None = None
    zones: dict[str, str] = field(default_factory=dict)

    def writes(self, column: str) -> bool:
        """Return whether a column's cells are text in the file, which may mean numbers."""
        return is_text(self.types[column]) and column not in self.numeric

    def require(self, columns: Sequence[str]) -> None:
        """Check that columns are there.

        Raises:
            DataError: One is not; it names the nearest.
        """
        for column in columns:
            if column not in self.types:
                raise Origin(self.label).missing(column, self.types)


@contextmanager
def scans(
    file: TableFile, given: FileFormat, wanted: Sequence[str], *, apart: bool = False
) -> Iterator[Iterator[Scan]]:
    """Open a file; an archive holds several.

    Args:
        file: What to read.
        given: How it is written, as far as that is known.
        wanted: Columns that are looked for, under their names in the file.
        apart: Whether no line may decide about others; see `csv_dialect`. What is neither CSV nor
            Parquet is refused then: how its cells are read follows from all of them.

    Raises:
        InputError: The file may not be read.
        DataError: The file is damaged.
    """
    with tempfile.TemporaryDirectory(prefix="securefl-", ignore_cleanup_errors=True) as folder:
        parts = (file,) if file.compression != "zip" else unpacked(file, Path(folder))
        each = _each(parts, given, wanted, Path(folder), apart=apart)
        try:
            yield each
        finally:
            each.close()  # the engine of a file in the middle of which reading ended


def _each(
    parts: Sequence[TableFile],
    given: FileFormat,
    wanted: Sequence[str],
    folder: Path,
    *,
    apart: bool,
) -> Generator[Scan, None, None]:
    for part in parts:
        if apart and part.kind == "csv":
            yield from _csv(part, given, wanted, folder, apart=True)
            continue
        if apart and part.kind != "parquet":
            raise DataError(
                f"{part.label}: under a privacy budget, lines are read from CSV, Parquet or a"
                f" database; how {part.kind} is read would follow from all customers' cells"
            )
        opened = {"csv": _csv, "parquet": _parquet, "json": _json, "excel": _excel}[part.kind]
        yield from opened(part, given, wanted, folder)


def _csv(
    file: TableFile,
    given: FileFormat,
    wanted: Sequence[str],
    folder: Path,
    *,
    apart: bool = False,
) -> Iterator[Scan]:
    dialect = csv_dialect(file, given, wanted, apart=apart)
    _refuse_repeated(file, dialect.columns)
    source = file
    if dialect.encoding not in ("utf-8", "utf-8-sig") or dialect.newline == MIXED:
        source = replace(file, path=folder / "transcoded.csv", compression=None)
        alone = LinesAlone(dialect.separator, dialect.quote) if apart else None
        transcode(file, dialect.encoding, source.path, alone)
        dialect = replace(dialect, newline="")
    with engine([source.path]) as connection:
        yield _csv_scan(file, source, dialect, connection)
    if source is not file:
        source.path.unlink()


def _csv_scan(
    file: TableFile, source: TableFile, dialect: CsvDialect, connection: duckdb.DuckDBPyConnection
) -> Scan:
    columns = ", ".join(f"{text(f'c{n}')}: 'VARCHAR'" for n in range(len(dialect.columns)))
    options = [
        "auto_detect = false",
        "header = false",
        f"skip = {dialect.skip}",
        f"delim = {text(dialect.separator)}",
        f"quote = {text(dialect.quote)}",
        f"escape = {text(dialect.quote)}",
        f"columns = {{{columns}}}",
        "nullstr = ''",
        "store_rejects = true",
        "rejects_limit = 100000",
    ]
    if dialect.newline == "\r":
        options.append("new_line = '\\r'")
    if source.compression:
        options.append(f"compression = {text(source.compression)}")
    read = f"read_csv({text(str(source.path))}, {', '.join(options)})"
    named = ", ".join(
        f"c{n} AS {name(column)}" for n, column in enumerate(dialect.columns) if column
    )
    return Scan(
        label=file.label,
        connection=connection,
        relation=f"({select(named, read)})",
        types={column: "VARCHAR" for column in dialect.columns if column},
        said=dialect.said,
        dialect=dialect,
    )


def forget_rejects(scan: Scan) -> None:
    """Drop what was noted of lines that cannot be read, before the file is read again."""
    for table in (REJECTS, "reject_scans"):
        scan.connection.execute(f"DROP TABLE IF EXISTS {table}")


def _parquet(
    file: TableFile, given: FileFormat, wanted: Sequence[str], folder: Path
) -> Iterator[Scan]:
    try:
        schema = pq.read_schema(file.path)
    except (pa.ArrowException, OSError) as problem:
        raise _unreadable(file, problem) from problem
    _refuse_repeated(file, schema.names)
    zones = {f.name: f.type.tz for f in schema if pa.types.is_timestamp(f.type) and f.type.tz}
    with engine([file.path]) as connection:
        relation = f"read_parquet({text(str(file.path))}, hive_partitioning = false)"
        yield described(Scan(file.label, connection, relation, {}, zones=zones))


def _json(
    file: TableFile, given: FileFormat, wanted: Sequence[str], folder: Path
) -> Iterator[Scan]:
    with engine([file.path]) as connection:
        options = f"maximum_object_size = {_JSON_LINE}, sample_size = 20000, format = 'auto'"
        if file.compression:
            options += f", compression = {text(file.compression)}"
        read = f"read_json({text(str(file.path))}, {options}"
        found = described(Scan(file.label, connection, f"{read})", {}))
        # What a sample was guessed to be could fail further down: all cells are read as text.
        cells = ", ".join(f"{text(column)}: 'VARCHAR'" for column in found.types)
        relation = f"{read}, columns = {{{cells}}})"
        numeric = frozenset(c for c, kind in found.types.items() if is_number(kind))
        types = dict.fromkeys(found.types, "VARCHAR")
        yield replace(found, relation=relation, types=types, numeric=numeric)


def _excel(
    file: TableFile, given: FileFormat, wanted: Sequence[str], folder: Path
) -> Iterator[Scan]:
    from securefl.data.sources.files.excel import sheet_table

    table, numeric = sheet_table(file, given)
    _refuse_repeated(file, table.column_names)
    with engine([]) as connection:
        connection.register("sheet", table)
        types = dict.fromkeys(table.column_names, "VARCHAR")
        yield Scan(file.label, connection, "sheet", types, numeric=numeric)


def described(scan: Scan) -> Scan:
    """Return the scan with the names and types of its columns.

    Raises:
        DataError: It cannot be read.
    """
    import duckdb

    try:
        rows = scan.connection.execute(f"DESCRIBE {select('*', scan.relation)}").fetchall()
    except (duckdb.Error, OSError) as problem:
        raise unreadable(scan.label, problem) from problem
    return replace(scan, types={row[0]: row[1] for row in rows})


def _refuse_repeated(file: TableFile, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for column in names:
        if column in seen and column:
            raise DataError(f"{file.label}: two columns are called '{column}'")
        seen.add(column)


def _unreadable(file: TableFile, problem: Exception) -> InputError:
    if isinstance(problem, PermissionError):
        return InputError(f"{file.label}: may not be read")
    return unreadable(file.label, problem)


def unreadable(label: str, problem: Exception) -> DataError:
    """Return the error for a file or a query that the engine cannot read."""
    why = " ".join(str(problem).split("\n\n")[0].split())
    return DataError(f"{label}: cannot be read: {why[:400]}")
