"""Over two hundred files as shops write them: read, or refused with the correction."""

import csv
import io
import re
from decimal import Decimal, InvalidOperation

import numpy as np
import pytest

from securefl.config.data import FilesSettings
from securefl.data.sources.files.findings import Findings
from securefl.data.sources.files.member import read_member
from securefl.errors import InputError
from unit.data.crafted_files import CASES, LABELS


def read(folder, content, settings):
    """One member's transactions; an InputError if they are refused."""
    suffix = settings.get("suffix", "csv")
    path = folder / ("sales" if isinstance(content, dict) else f"sales.{suffix}")
    files = content if isinstance(content, dict) else {"": content}
    for name, data in files.items():
        target = path / name if name else path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    known = FilesSettings.model_validate(
        {
            "root": folder,
            "catalogue": "catalogue.csv",
            "members": [
                {"name": "m", "transactions": str(path / settings.get("pattern", ""))},
            ],
            **{
                section: settings[section]
                for section in ("format", "rules", "columns", "period")
                if section in settings
            },
        }
    )
    findings = Findings("m", known.rules)
    tables = read_member(known.members[0], known, LABELS, findings, lambda lines: None)
    findings.check()
    return tables.transactions, findings


@pytest.mark.parametrize(
    ("name", "content", "settings", "expected"), CASES, ids=[c[0] for c in CASES]
)
def test_a_crafted_file(tmp_path, name, content, settings, expected):
    """Read to the last cent, or refused with what would help; never silently other."""
    if isinstance(expected, str):
        with pytest.raises(InputError) as caught:
            read(tmp_path, content, settings)
        assert re.search(expected, str(caught.value)) or expected in str(caught.value)
        return
    frame, findings = read(tmp_path, content, settings)
    assert (len(frame), round(float(frame["value"].sum()), 6)) == expected
    assert not frame.isna().any().any()
    # Whatever was left out, a rule has counted.
    counted = sum(f.lines for f in findings.all if f.rule not in ("written", "unmatched"))
    assert len(frame) == findings.lines or counted > 0


def _decimal(cell):
    cell = cell.strip()
    if "," in cell and "." in cell:
        last = max(cell.rfind(","), cell.rfind("."))
        cell = cell[:last].replace(",", "").replace(".", "") + "." + cell[last + 1 :]
    try:
        return Decimal(
            cell.replace(",", ".").replace(" ", "").replace("\u00a0", "").replace("'", "")
        )
    except InvalidOperation:
        return None


def independent(content):
    """Lines and revenue of a CSV file, by Python's own reader and decimal arithmetic."""
    for encoding in ("utf-8-sig", "utf-16", "cp1252"):
        try:
            text = content.decode(encoding)
            break
        except UnicodeError:
            continue
    best = max(",;\t|", key=text.split("\n")[0].count)
    rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=best))
    values = [_decimal(row["value"]) for row in rows if row.get("value") and any(row.values())]
    return len(values), sum(values, Decimal(0))


SUMMED = [
    case
    for case in CASES
    if isinstance(case[1], bytes)
    and not isinstance(case[3], str)
    and not set(case[2]) - {"format"}
    and not set(case[2].get("format", {})) - {"encoding", "timezone", "time"}
    and case[0]
    not in ("a line sep=;", "utf-16-le said", "cr alone", "german export", "a table of psql")
]


def test_sums_agree_with_an_independent_reading():
    """What the table expects is what another reader finds in the same bytes."""
    assert len(SUMMED) > 40
    for name, content, _, expected in SUMMED:
        lines, revenue = independent(content)
        assert (lines, round(float(revenue), 6)) == expected, name


def test_there_are_enough_crafted_files():
    """The table may grow; each case has a name of its own."""
    assert len(CASES) >= 260
    assert len({case[0] for case in CASES}) == len(CASES)


def test_equal_customers_are_one(tmp_path):
    """`17850` and `17850.0` are one customer, `007` and `7` are two."""
    by_name = {case[0]: case for case in CASES}
    for name, customers in (
        ("customers 17850 and 17850.0", 1),
        ("customers 007 and 7", 2),
        ("anonymous kept", 2),
    ):
        _, content, settings, _ = by_name[name]
        frame, _ = read(tmp_path, content, settings)
        assert frame["customer"].nunique() == customers
    assert np.sort(frame["customer"].unique())[0] == -1


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("an offset", "2024-03-30T23:30:00"),
        ("UTC said", "2024-03-31T00:30:00"),
        ("parquet, zone of Berlin", "2024-03-30T23:00:00"),
        ("parquet, UTC said", "2024-03-30T23:00:00"),
        ("nanoseconds", "2024-03-30T10:00:00.123456789"),
        ("seconds since 1970, said", "2024-03-30T13:00:00"),
        ("milliseconds since 1970, said", "2024-03-30T12:00:00"),
        ("days of a spreadsheet, said", "2024-03-30T12:00:00"),
        ("days with points", "2024-03-30"),
        ("days with slashes, day first", "2024-03-30"),
        ("days with slashes, month first", "2024-03-30T08:26:00"),
        ("days of two meanings, said", "2024-03-04"),
        ("years of two digits, said", "2024-03-30"),
        ("a clock of twelve hours, said", "2024-03-30T20:26:00"),
        ("eight digits", "2024-03-30"),
        ("parquet, days as numbers, said", "2024-03-30"),
    ],
)
def test_a_moment_is_the_shops(tmp_path, name, moment):
    """Times are by the shop's clock, to the nanosecond."""
    _, content, settings, _ = next(case for case in CASES if case[0] == name)
    frame, _ = read(tmp_path, content, settings)
    assert frame["time"].iloc[0].to_datetime64() == np.datetime64(moment)
