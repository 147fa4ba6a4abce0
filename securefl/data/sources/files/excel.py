"""One sheet of an Excel file as a table of text."""

from __future__ import annotations

import datetime as dt
import zipfile
from collections.abc import Iterator
from typing import Final

import pyarrow as pa

from securefl.config.files import FileFormat
from securefl.data.sources.files.locate import TableFile
from securefl.errors import DataError, InputError, needs_extra

_LARGEST: Final = 2 << 30


def sheet_table(file: TableFile, given: FileFormat) -> tuple[pa.Table, frozenset[str]]:
    """Return a sheet's cells as text, as the values that Excel keeps and not as it shows them.

    Raises:
        InputError: openpyxl is not installed, or nothing says which of several sheets is meant.
        DataError: The file is damaged, or unpacks to more than 2 GiB.
    """
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise needs_extra("openpyxl", f"{file.label}: an Excel file") from None
    try:
        with zipfile.ZipFile(file.path) as archive:
            if sum(info.file_size for info in archive.infolist()) > _LARGEST:
                raise DataError(f"{file.label}: cannot be read: it unpacks to more than 2 GiB")
        book = load_workbook(file.path, read_only=True, data_only=True)
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as problem:
        raise DataError(f"{file.label}: cannot be read: {problem}") from problem
    try:
        return _table(_rows(book[_sheet(file, given, book.sheetnames)].iter_rows(), given), given)
    finally:
        book.close()


def _sheet(file: TableFile, given: FileFormat, names: list[str]) -> str:
    if given.sheet is None and len(names) == 1:
        return names[0]
    if given.sheet in names:
        return str(given.sheet)
    listed = ", ".join(f"'{one}'" for one in names)
    raise InputError(f"{file.label}: set format.sheet to one of {listed}")


def _rows(rows: Iterator[tuple[object, ...]], given: FileFormat) -> Iterator[list[object]]:
    for number, row in enumerate(rows):
        if number >= given.skip:
            yield [getattr(cell, "value", None) for cell in row]


def _text(value: object) -> str | None:
    """Return a cell as text; a whole number without its fraction, a time as ISO 8601."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat(sep=" ") if isinstance(value, dt.datetime) else value.isoformat()
    return str(value)


def _table(rows: Iterator[list[object]], given: FileFormat) -> tuple[pa.Table, frozenset[str]]:
    """Return the cells as text, and the columns in which the sheet itself has no text."""
    first = next(rows, [])
    names = [str(number + 1) for number in range(len(first))]
    body = [first, *rows]
    if given.header:
        names, body = [(_text(cell) or "").strip() for cell in first], body[1:]
    kept = [number for number, name in enumerate(names) if name]
    cells = {n: [row[n] if n < len(row) else None for row in body] for n in kept}
    columns = [pa.array(map(_text, cells[n]), pa.string()) for n in kept]
    numeric = frozenset(names[n] for n in kept if not any(isinstance(c, str) for c in cells[n]))
    return pa.table(columns, names=[names[n] for n in kept]), numeric
