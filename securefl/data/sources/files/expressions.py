"""A file's cells as the schema's values, as expressions of the engine's SQL.

Each cell that does not convert comes back as the text that it is, so that an error can show it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from securefl.data.sources.files.engine import text, type_name

CellKind = Literal["label", "number", "time", "flag", "text"]

INTEGERS: Final = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
WIDE: Final = ("UBIGINT", "HUGEINT", "UHUGEINT")
FRACTIONS: Final = ("FLOAT", "DOUBLE")
TIMESTAMPS: Final = ("TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_S", "TIMESTAMP_MS")
ZONED: Final = "TIMESTAMP WITH TIME ZONE"

ISO: Final = (
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?)?( ?(Z|[+-]\d\d:?(\d\d)?))?"
    r"|(19|20)\d{6}"
)
"""Times that are read without a setting: ISO 8601, extended, or eight digits of a day."""

SEEN_NAIVE, SEEN_UTC, SEEN_OFFSET = 1, 2, 4
SEEN_GROUPS, SEEN_FRACTION, SEEN_THOUSANDS = 1, 2, 4

PATTERNS: Final = {
    "day-first": ("%d{0}%m{0}%Y",),
    "month-first": ("%m{0}%d{0}%Y",),
}
_CLOCKS: Final = (
    "",
    " %H:%M:%S",
    " %H:%M",
    "T%H:%M:%S",
    " %H:%M:%S.%f",
    " %I:%M:%S %p",
    " %I:%M %p",
)
_EPOCHS: Final = {"epoch-s": 1_000_000_000, "epoch-ms": 1_000_000, "epoch-us": 1000, "epoch-ns": 1}
_NAN: Final = "'nan'::DOUBLE"
_EARLIEST: Final = "TIMESTAMP '1678-01-01'"
_LATEST: Final = "TIMESTAMP '2261-12-31 23:59:59.999999'"
_FIRST_EXCEL_DAY: Final = "1899-12-30"

CELL: Final = "<cell>"
RAW: Final = "<raw>"
_TEXT: Final = f"CAST({CELL} AS VARCHAR)"


_FORMS: Final = ("", " __:__:__", "T__:__:__")
_USUAL: Final = "(" + " OR ".join(f"{RAW} LIKE '____-__-__{rest}'" for rest in _FORMS) + ")"
"""Whether a time has its marks where the usual forms have them. The engine's own conversion takes
more than ISO 8601, but nothing else that looks like this, and a regular expression for every cell
would take as long as all the rest."""


@dataclass(frozen=True)
class Cells:
    """One column as expressions.

    The text is said in terms of `CELL`, the value and what was seen in terms of `CELL` and `RAW`,
    so that the engine computes the text of a cell once, and only where it is wanted.

    Attributes:
        value: The value, NULL where the cell is missing or does not convert.
        raw: The cell as text, NULL where it is missing.
        seen: Bits that say how the cell is written, see `SEEN_NAIVE` and its kin.
    """

    value: str
    raw: str
    seen: str = "0"


class WrongType(Exception):
    """A column's data type cannot hold such values; the text says what was wanted."""


def is_text(kind: str) -> bool:
    """Return whether a data type holds text: dictionaries of it too."""
    return kind == "VARCHAR" or kind.startswith("ENUM") or kind in ("UUID", "JSON")


def is_number(kind: str) -> bool:
    """Return whether a data type holds numbers."""
    return kind in INTEGERS or kind in FRACTIONS or kind in WIDE or _is_decimal(kind)


def _is_decimal(kind: str) -> bool:
    return kind.startswith("DECIMAL")


def labels(kind: str) -> Cells:
    """Return identifiers as text, or as BIGINT where the file has integers.

    Raises:
        WrongType: The column holds dates, booleans or bytes.
    """
    if kind in INTEGERS:
        return Cells(f"CAST({CELL} AS BIGINT)", _TEXT)
    if is_text(kind) or kind in WIDE:
        return Cells(RAW, _TEXT)
    if kind in FRACTIONS or _is_decimal(kind):
        # Above it, neighbouring numbers are one: two customers would become the same.
        exact = 1 << (24 if kind == "FLOAT" else 53)
        whole = f"{CELL} = floor({CELL}) AND abs({CELL}) < {exact}"
        value = f"CASE WHEN {whole} THEN CAST(CAST({CELL} AS BIGINT) AS VARCHAR)"
        if kind in FRACTIONS:  # a column of numbers with gaps: pandas writes NaN for no number
            value += f" WHEN isnan({CELL}) THEN 'nan'"
        return Cells(value + " END", _TEXT)
    raise WrongType(f"holds {type_name(kind)}, wanted text or integers")


def numbers(kind: str, decimal: str, *, said: bool) -> Cells:
    """Return numbers as DOUBLE.

    Args:
        kind: The column's data type.
        decimal: The decimal mark, where cells are text.
        said: Whether a setting said it, so that nothing needs to be watched.

    Raises:
        WrongType: The column holds booleans, times or something else.
    """
    if kind in INTEGERS or kind in WIDE or _is_decimal(kind):
        return Cells(f"CAST({CELL} AS DOUBLE)", _TEXT)
    if kind in FRACTIONS:
        raw = f"CASE WHEN NOT isnan({CELL}) THEN {_TEXT} END"
        return Cells(f"nullif(CAST({CELL} AS DOUBLE), {_NAN})", raw)
    if not is_text(kind):
        raise WrongType(f"holds {type_name(kind)}, wanted numbers")
    value = f"coalesce({_bare_number(RAW, decimal)}, {_grouped_number(decimal)})"
    checked = f"nullif(CASE WHEN NOT contains({RAW}, '_') THEN {value} END, {_NAN})"
    return Cells(checked, _TEXT, "0" if said else _seen_number(RAW, decimal))


def _bare_number(raw: str, decimal: str) -> str:
    if decimal == ".":
        return f"TRY_CAST({raw} AS DOUBLE)"
    plain = f"TRY_CAST(replace({raw}, ',', '.') AS DOUBLE)"
    return f"CASE WHEN NOT contains({raw}, '.') THEN {plain} END"


def _grouped_number(decimal: str) -> str:
    """Return a number in groups of three digits, or with its minus at the end, else NULL."""
    raw = f"trim({RAW}, ' \u00a0\u202f\t')"
    marks = "[ \u00a0\u202f'\u2019" + ("," if decimal == "." else ".") + "]"
    # 0.750 is no number in groups: nothing below a thousand is.
    pattern = rf"[+-]?(\d+|[1-9]\d{{0,2}}({marks}\d{{3}})+)(\{decimal}\d+)?-?"
    bare = f"replace(regexp_replace({raw}, {text(marks)}, '', 'g'), {text(decimal)}, '.')"
    signed = f"CASE WHEN right({bare}, 1) = '-' THEN '-' || rtrim({bare}, '-') ELSE {bare} END"
    fits = f"regexp_full_match({raw}, {text(pattern)})"
    return f"CASE WHEN {fits} THEN TRY_CAST({signed} AS DOUBLE) END"


def _seen_number(raw: str, decimal: str) -> str:
    """Return whether a mark could have been one of thousands, or was surely a decimal mark.

    `1.250` is a number of two meanings: only other cells can tell which, of its column where it
    would be read as thousands, and of its file where it would not.
    """
    groups = r"[+-]?[1-9]\d{0,2}[.,]\d{3}-?"
    return (
        f"CASE WHEN {raw} IS NULL OR NOT contains({raw}, '.') AND NOT contains({raw}, ',') THEN 0"
        f" WHEN substr({raw}, -4, 1) IN ('.', ',') AND regexp_full_match({raw}, {text(groups)})"
        f" THEN CASE WHEN substr({raw}, -4, 1) = {text(decimal)} THEN {SEEN_GROUPS}"
        f" ELSE {SEEN_THOUSANDS} END ELSE {SEEN_FRACTION} END"
    )


def times(kind: str, written: str, zone: str | None, file_zone: str | None) -> Cells:
    """Return times as TIMESTAMP_NS by the clock of the shop.

    Args:
        kind: The column's data type.
        written: How text is written, see `securefl.config.files.TIMES`; or a pattern.
        zone: The zone of the shops' clocks, where a setting says it.
        file_zone: The zone that the file says its clock has.

    Raises:
        WrongType: The column holds numbers, and nothing says of what.
    """
    if kind in TIMESTAMPS or kind == "DATE":
        return Cells(_nanoseconds(CELL), _TEXT, str(SEEN_NAIVE))
    if kind == ZONED:
        local = zone or file_zone or "UTC"
        seen = SEEN_UTC if zone is None and local in ("UTC", "Etc/UTC", "+00:00") else SEEN_OFFSET
        value = _nanoseconds(f"timezone({text(_engine_zone(local))}, {CELL})")
        return Cells(value, _TEXT, str(seen))
    numeric = is_number(kind)
    if not numeric and not is_text(kind):
        raise WrongType(f"holds {type_name(kind)}, wanted dates or times")
    if written in _EPOCHS or written == "excel":
        return _numeric_times(written, zone)
    if numeric and not written.startswith("%"):
        raise WrongType(
            f"holds {type_name(kind)}, wanted dates or times; if they count seconds or the like,"
            ' set format.time = "epoch-s" (or epoch-ms, excel, "%Y%m%d")'
        )
    return _iso_times(zone) if written == "iso" else _pattern_times(written)


def _nanoseconds(moment: str) -> str:
    """Return a time in nanoseconds, NULL beyond the years that 64 bits of them hold."""
    cast = f"CAST({moment} AS TIMESTAMP_NS)"
    return f"CASE WHEN {moment} BETWEEN {_EARLIEST} AND {_LATEST} THEN {cast} END"


def _engine_zone(zone: str) -> str:
    """Return a fixed offset as a zone that the engine knows; ICU's `Etc/GMT-1` is one hour east."""
    if zone[:1] in "+-" and zone[3:] in (":00", "00"):
        sign = "-" if zone[0] == "+" else "+"
        return f"Etc/GMT{sign}{int(zone[1:3])}"
    return zone


def _numeric_times(written: str, zone: str | None) -> Cells:
    number = f"TRY_CAST({RAW} AS DOUBLE)"
    if written == "excel":
        micros = f"CAST(round({number} * 86400) AS BIGINT) * 1000000"
        good = f"{number} BETWEEN 1 AND 130000"
        moment = f"(TIMESTAMP {text(_FIRST_EXCEL_DAY)} + to_microseconds({micros}))"
        return Cells(f"CASE WHEN {good} THEN CAST({moment} AS TIMESTAMP_NS) END", _TEXT, "1")
    unit = _EPOCHS[written]
    whole = f"TRY_CAST({RAW} AS BIGINT)" if unit == 1 else f"CAST({number} * {unit} AS BIGINT)"
    good = f"{number} * {unit}.0 BETWEEN -9.2e18 AND 9.2e18"
    moment = f"CASE WHEN {good} THEN make_timestamp_ns({whole}) END"
    if zone is None:
        return Cells(moment, _TEXT, str(SEEN_UTC))
    local = f"timezone({text(zone)}, CAST({moment} AS TIMESTAMPTZ))"
    return Cells(f"CAST({local} AS TIMESTAMP_NS)", _TEXT, str(SEEN_OFFSET))


def _iso_times(zone: str | None) -> Cells:
    cell = f"trim({RAW})"
    marks = " OR ".join(f"substr({cell}, {place}, 1) IN ('+', '-')" for place in (-6, -5, -3))
    zoned = f"(length({cell}) > 16 AND (right({cell}, 1) = 'Z' OR {marks}))"
    utc = f"regexp_matches({cell}, '(Z|[+-]00:?(00)?)$')"
    seen = (
        f"CASE WHEN {_USUAL} OR {RAW} IS NULL OR NOT {zoned} THEN {SEEN_NAIVE}"
        f" WHEN {utc} THEN {SEEN_UTC} ELSE {SEEN_OFFSET} END"
    )
    bare = f"regexp_replace({cell}, ' ?(Z|[+-]\\d\\d:?(\\d\\d)?)$', '')"
    local = f"TRY_CAST({bare} AS TIMESTAMP_NS)"
    if zone is not None:
        instant = f"TRY_CAST({cell} AS TIMESTAMPTZ)"
        local = _nanoseconds(f"timezone({text(zone)}, {instant})")
    day = _nanoseconds(f"TRY_STRPTIME({cell}, '%Y%m%d')")
    value = (
        f"CASE WHEN substr({RAW}, 12, 2) = '24' THEN NULL"
        f" WHEN {_USUAL} THEN TRY_CAST({RAW} AS TIMESTAMP_NS)"
        f" WHEN NOT regexp_full_match({cell}, {text(ISO)}) THEN NULL"
        f" WHEN {zoned} THEN {local} WHEN length({cell}) = 8 THEN {day}"
        f" ELSE TRY_CAST({cell} AS TIMESTAMP_NS) END"
    )
    return Cells(value, _TEXT, seen)


def _pattern_times(written: str) -> Cells:
    patterns = [written]
    if written in PATTERNS:
        days = [day.format(mark) for day in PATTERNS[written] for mark in "./-"]
        patterns = [day + clock for day in days for clock in _CLOCKS]
    listed = "[" + ", ".join(text(pattern) for pattern in patterns) + "]"
    return Cells(_nanoseconds(f"TRY_STRPTIME(trim({RAW}), {listed})"), _TEXT, "1")


def flags() -> Cells:
    """Return `true`, `false`, 1 and 0 as BOOLEAN."""
    raw = f"nullif(trim({_TEXT}), '')"
    value = (
        f"CASE lower({RAW}) WHEN 'true' THEN TRUE WHEN '1' THEN TRUE"
        " WHEN 'false' THEN FALSE WHEN '0' THEN FALSE END"
    )
    return Cells(value, raw)


def texts() -> Cells:
    """Return any cell as text."""
    return Cells(RAW, _TEXT)
