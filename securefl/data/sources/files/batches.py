"""Lines of one file as arrays, a million at a time, and what does not convert among them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from securefl.config.files import FileFormat
from securefl.data.sources.files import expressions as sql
from securefl.data.sources.files.engine import BATCH, name, select
from securefl.data.sources.files.expressions import CellKind, Cells, WrongType
from securefl.data.sources.files.findings import FIRST, Findings
from securefl.data.sources.files.scans import REJECTS, Scan, forget_rejects, unreadable
from securefl.data.sources.files.sniff import Written, as_agreed, written
from securefl.data.threads import ahead

Mask = npt.NDArray[np.bool_]

_YEAR: Final = re.compile(r"\s*(?:\d{1,2}[./-]){0,2}(\d{4})\b.*", re.DOTALL)
_NOT: Final = {
    "number": "is not a number",
    "time": "is not a date or time (YYYY-MM-DD HH:MM:SS; any other way: set format.time)",
    "flag": "is neither true nor false",
    "label": "is a fraction, wanted text or integers",
    "text": "is no text",
}
_STAND_IN: Final = {
    "label": "'x'",
    "number": "1.0::DOUBLE",
    "time": "NULL::TIMESTAMP_NS",
    "flag": "TRUE",
    "text": "''",
}


@dataclass(frozen=True)
class Wanted:
    """A column to read.

    Attributes:
        column: What the schema calls it.
        name: What the file calls it.
        kind: What its cells are.
    """

    column: str
    name: str
    kind: CellKind


@dataclass(frozen=True)
class Batch:
    """Some lines of a file.

    Attributes:
        start: Row of the first line in the file, from 0.
        values: Schema's column to its values; null where a cell is missing or does not convert.
        raw: Schema's column to the text of cells that do not convert.
        names: Schema's column to its name in the file.
        kinds: Schema's column to what its cells are.
    """

    start: int
    values: dict[str, pa.Array]
    raw: dict[str, pa.Array]
    names: dict[str, str]
    kinds: dict[str, CellKind]

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def missing(self, column: str) -> Mask:
        """Return bool [n]: whether a cell is missing or does not convert."""
        return np.asarray(self.values[column].is_null().to_numpy(zero_copy_only=False))

    def numbers(self, column: str) -> npt.NDArray[np.float64]:
        """Return float64 [n], NaN where there is none."""
        return np.asarray(self.values[column].to_numpy(zero_copy_only=False), dtype=np.float64)

    def times(self, column: str) -> npt.NDArray[np.datetime64]:
        """Return datetime64[ns] [n], NaT where there is none."""
        return np.asarray(self.values[column].to_numpy(zero_copy_only=False))

    def problem(self, column: str, row: int) -> str:
        """Return what is wrong with a cell that has no value."""
        raw = self.raw[column][row].as_py()
        if raw is None or not raw.strip():
            return "missing"
        kind = self.kinds[column]
        found = _YEAR.fullmatch(raw) if kind == "time" else None
        if found and not 1678 <= int(found[1]) <= 2261:
            return f"'{_short(raw)}' is beyond the years 1678 to 2261"
        if kind == "label" and raw.endswith(".0"):
            return f"{raw} is beyond the integers that its column's type keeps apart"
        shown = raw if kind == "label" else f"'{_short(raw)}'"
        return f"{shown} {_NOT[kind]}"


def _short(raw: str) -> str:
    return raw if len(raw) <= 60 else raw[:57] + "..."


def examples(
    batch: Batch, mask: Mask, problem: str | Sequence[str] | None = None, column: str = ""
) -> list[tuple[int, str]]:
    """Return the first rows of a mask, counted from 1, and what is wrong there."""
    rows = np.flatnonzero(mask)[:FIRST]
    if problem is None:
        return [(batch.start + int(row) + 1, batch.problem(column, int(row))) for row in rows]
    texts = [problem] * len(rows) if isinstance(problem, str) else problem
    return [(batch.start + int(row) + 1, said) for row, said in zip(rows, texts, strict=False)]


def batches(
    scan: Scan, wanted: Sequence[Wanted], given: FileFormat, findings: Findings
) -> Iterator[Batch]:
    """Read the wanted columns of a file, line for line in its order.

    What is wrong with the file as a whole, or with the shape of its lines, is added to `findings`.

    Raises:
        DataError: A column is missing, or the file is damaged.
    """
    import duckdb

    scan.require([one.name for one in wanted])
    how = _written(scan, wanted, given, findings)
    cells = [_cells(scan, one, how, given, findings) for one in wanted]
    query = _query(scan, wanted, cells)
    seen = np.zeros(len(wanted), dtype=np.uint8)
    start = 0
    try:
        reader = scan.connection.execute(query).to_arrow_reader(BATCH)
        for part in ahead(reader):
            for number in range(len(wanted)):
                bits = part.column(3 * number + 2).to_numpy(zero_copy_only=False)
                seen[number] |= np.bitwise_or.reduce(bits, initial=0)
            yield _batch(part, wanted, start)
            start += part.num_rows
    except (duckdb.Error, pa.ArrowException, OSError) as problem:
        raise unreadable(scan.label, problem) from problem
    _judge(scan, wanted, seen, how, given=given, findings=findings)
    _rejected(scan, findings)


def _query(scan: Scan, wanted: Sequence[Wanted], cells: Sequence[Cells]) -> str:
    """Return the query for three columns a wanted one: its value, its text if none, bits seen."""
    inner, middle, outer = [], [], []
    for n, (one, cell) in enumerate(zip(wanted, cells, strict=True)):
        value, seen = (
            part.replace(sql.CELL, f"c{n}").replace(sql.RAW, f"t{n}")
            for part in (cell.value, cell.seen)
        )
        inner.append(f"{name(one.name)} AS c{n}")
        through, raw = f"c{n}", cell.raw.replace(sql.CELL, f"c{n}")
        if sql.RAW in cell.value + cell.seen:
            inner.append(f"{cell.raw.replace(sql.CELL, name(one.name))} AS t{n}")
            through = raw = f"t{n}"
        middle += [f"{value} AS v{n}", through, f"CAST({seen} AS UTINYINT) AS s{n}"]
        outer += [f"v{n}", f"CASE WHEN v{n} IS NULL THEN {raw} END AS r{n}", f"s{n}"]
    cells_of = f"({select(', '.join(inner), scan.relation)})"
    return select(", ".join(outer), f"({select(', '.join(middle), cells_of)})")


def _batch(part: pa.RecordBatch, wanted: Sequence[Wanted], start: int) -> Batch:
    return Batch(
        start=start,
        values={one.column: part.column(3 * n) for n, one in enumerate(wanted)},
        raw={one.column: part.column(3 * n + 1) for n, one in enumerate(wanted)},
        names={one.column: one.name for one in wanted},
        kinds={one.column: one.kind for one in wanted},
    )


def _written(
    scan: Scan, wanted: Sequence[Wanted], given: FileFormat, findings: Findings
) -> Written:
    numbers = [one.name for one in wanted if one.kind == "number"]
    times = [one.name for one in wanted if one.kind == "time"]
    how = as_agreed(given) if findings.apart else written(scan, given, numbers, times)
    said = ", ".join(part for part in (scan.said, how.said) if part)
    if said:
        findings.add("written", scan.label, detail=said)
    if scan.dialect is not None and scan.dialect.guessed_encoding:
        as_read = f"as {scan.dialect.encoding} it has '{scan.dialect.strange.strip()}'"
        findings.add("encoding", scan.label, detail=f"cannot be read: it is not UTF-8; {as_read}")
    if how.problem:
        findings.add("time", scan.label, times[0], detail=how.problem)
    return how


def _cells(scan: Scan, one: Wanted, how: Written, given: FileFormat, findings: Findings) -> Cells:
    """Return a column's expressions; for one of a wrong type, which is refused, a constant."""
    kind = scan.types[one.name]
    try:
        match one.kind:
            case "label":
                return sql.labels(kind)
            case "number":
                text = scan.writes(one.name)
                decimal = how.decimal if text else "."
                return sql.numbers(kind, decimal, said=how.decimal_said or not text)
            case "time":
                zone = scan.zones.get(one.name)
                return sql.times(kind, how.time, given.timezone, zone)
            case "flag":
                return sql.flags()
            case "text":
                return sql.texts()
    except WrongType as problem:
        findings.add("type", scan.label, one.name, detail=str(problem))
        return Cells(_STAND_IN[one.kind], "NULL::VARCHAR")


def _judge(
    scan: Scan,
    wanted: Sequence[Wanted],
    seen: npt.NDArray[np.uint8],
    how: Written,
    *,
    given: FileFormat,
    findings: Findings,
) -> None:
    """Say what only the whole column tells: marks of two meanings, clocks of no zone."""
    for one, bits in zip(wanted, seen, strict=True):
        if one.kind == "time":
            _judge_clock(scan, one, int(bits), given, findings)
    numbers = [(one, int(bits)) for one, bits in zip(wanted, seen, strict=True)]
    bits = [(one, found) for one, found in numbers if one.kind == "number" and found]
    settled = any(found & sql.SEEN_FRACTION for _, found in bits)
    for one, found in bits:
        thousands = found & sql.SEEN_THOUSANDS and not found & sql.SEEN_FRACTION
        if not how.decimal_said and (not settled or thousands):
            findings.add(
                "decimal", scan.label, one.name, detail="has numbers such as 1.250 or 1,250"
            )
            break


def _judge_clock(scan: Scan, one: Wanted, bits: int, given: FileFormat, findings: Findings) -> None:
    zoned = bits & (sql.SEEN_UTC | sql.SEEN_OFFSET)
    if zoned and bits & sql.SEEN_NAIVE:
        findings.add("zone", scan.label, one.name, detail="mixes time zones and none")
    elif bits == sql.SEEN_UTC and given.timezone is None:
        findings.add("zone", scan.label, one.name, detail="is in UTC, which is no shop's clock")


def _rejected(scan: Scan, findings: Findings) -> None:
    """Add the lines that have too few or too many cells, or that end inside a quote."""
    if scan.dialect is None:
        return
    query = select("line, any_value(error_message)", REJECTS, "GROUP BY line ORDER BY line")
    try:
        rows = scan.connection.execute(query).fetchall()
    except Exception as problem:
        import duckdb

        if isinstance(problem, duckdb.CatalogException):
            return  # nothing was rejected, so there is no such table
        raise
    skipped = scan.dialect.skip
    first = [
        (
            max(int(line) - skipped, 1),
            f"cannot be read: CSV parse error: {' '.join(why.split())[:120]}",
        )
        for line, why in rows[:FIRST]
    ]
    if rows:
        findings.add("lines", scan.label, lines=len(rows), first=first)
    forget_rejects(scan)
