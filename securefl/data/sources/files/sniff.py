"""How a file writes numbers and times, from its first lines, where no setting says it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from securefl.config.files import FileFormat
from securefl.data.sources.files.engine import name, select
from securefl.data.sources.files.expressions import is_text
from securefl.data.sources.files.scans import Scan, forget_rejects, unreadable

_LINES: Final = 20_000
_COMMA: Final = re.compile(
    r"[+-]?\d*(?:[. '\u00a0\u202f\u2019]\d{3})*,(?:\d{1,2}|\d{4,})-?|[+-]?0,\d+"
)
_POINT: Final = re.compile(
    r"[+-]?\d*(?:[, '\u00a0\u202f\u2019]\d{3})*\.(?:\d{1,2}|\d{4,})-?|[+-]?0\.\d+"
)
_DAY: Final = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})(?:[ T]\d.*)?")
_DIGITS: Final = re.compile(r"\d{10}|\d{13}|\d{16}|\d{19}")


@dataclass(frozen=True)
class Written:
    """How a file writes its cells.

    Attributes:
        decimal: The decimal mark.
        decimal_said: Whether a setting says so.
        time: As in `FileFormat.time`.
        problem: Why times cannot be read as anything, empty where they can.
    """

    decimal: str = "."
    decimal_said: bool = False
    time: str = "iso"
    problem: str = ""

    @property
    def said(self) -> str:
        """One line for a person; empty for what needs no word."""
        odd = [f"decimal '{self.decimal}'"] if self.decimal != "." else []
        return ", ".join(odd + ([f"times {self.time}"] if self.time != "iso" else []))


def as_agreed(given: FileFormat) -> Written:
    """Return how files are written by the settings alone; what these leave open is ISO and a point.

    A guess is made of all lines, so that one customer's could decide how all others' are read.
    """
    return Written(given.decimal or ".", decimal_said=True, time=given.time or "iso")


def written(
    scan: Scan, given: FileFormat, number_columns: Sequence[str], time_columns: Sequence[str]
) -> Written:
    """Find out how the file writes its numbers and times.

    Raises:
        DataError: The file cannot be read.
    """
    numbers = [c for c in number_columns if scan.writes(c)]
    columns = [*numbers, *(c for c in time_columns if is_text(scan.types[c]))]
    cells = _sample(scan, dict.fromkeys(columns)) if columns else {}
    decimal = given.decimal or _decimal(cell for c in numbers for cell in cells[c])
    known = given.decimal is not None
    if given.time is not None:
        return Written(decimal, known, given.time)
    seen = [cell for c in time_columns if c in cells for cell in cells[c]]
    time, problem = _time(seen, scan, [c for c in time_columns if c in cells])
    return Written(decimal, known, time, problem)


def _sample(scan: Scan, columns: Iterable[str]) -> Mapping[str, list[str]]:
    import duckdb

    listed = list(columns)
    cells = ", ".join(f"trim(CAST({name(column)} AS VARCHAR))" for column in listed)
    try:
        query = select(cells, scan.relation, f"LIMIT {_LINES}")
        rows = scan.connection.execute(query).fetchall()
    except (duckdb.Error, OSError) as problem:
        raise unreadable(scan.label, problem) from problem
    finally:
        forget_rejects(scan)
    return {column: [row[n] for row in rows if row[n]] for n, column in enumerate(listed)}


def _decimal(cells: Iterable[str]) -> str:
    """Return the mark that more cells can only mean as a decimal one."""
    comma = point = 0
    for cell in cells:
        comma += bool(_COMMA.fullmatch(cell))
        point += bool(_POINT.fullmatch(cell))
    return "," if comma > point else "."


def _time(cells: Sequence[str], scan: Scan, columns: Sequence[str]) -> tuple[str, str]:
    """Return the way that times are written, and the problem if there are two or none."""
    days = [found for cell in cells if (found := _DAY.fullmatch(cell))]
    if len(days) * 2 <= len(cells):
        digits = sum(bool(_DIGITS.fullmatch(cell)) for cell in cells)
        if digits * 2 > len(cells):
            unit = {10: "s", 13: "ms", 16: "us", 19: "ns"}.get(len(cells[0]), "s")
            return "iso", f'holds numbers that may count from 1970 (format.time = "epoch-{unit}")'
        return "iso", ""
    marks = {found[2] for found in days}
    first = any(int(found[1]) > 12 for found in days)
    second = any(int(found[3]) > 12 for found in days)
    if not first and not second and marks != {"."}:
        first, second = _over_twelve(scan, columns)
    if first or marks == {"."}:
        return "day-first", ""
    if second:
        return "month-first", ""
    return "day-first", (
        f'holds \'{cells[0]}\', a day of two meanings (format.time = "day-first" or "month-first")'
    )


def _over_twelve(scan: Scan, columns: Sequence[str]) -> tuple[bool, bool]:
    """Return whether any first, and any second part of a day in the whole file is above 12."""
    first = second = False
    for column in columns:
        parts = f"regexp_extract({name(column)}, '^\\s*(\\d+)[./-](\\d+)', ['a', 'b'])"
        above = "bool_or(TRY_CAST(p.a AS INT) > 12), bool_or(TRY_CAST(p.b AS INT) > 12)"
        query = select(above, f"({select(f'{parts} AS p', scan.relation)})")
        found = scan.connection.execute(query).fetchone()
        forget_rejects(scan)
        first, second = first or bool(found and found[0]), second or bool(found and found[1])
    return first, second
