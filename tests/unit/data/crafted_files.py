"""Files as retailers' systems write them, and what must come of each: a compact table.

A case is `(name, content, settings, expected)`. `content` is the bytes of one file, or a mapping of
names to bytes for a folder; `settings` has sections `format`, `rules`, `columns`, `period` and
`suffix`. What is expected is `(lines, revenue)`, or a fragment of the refusal.
"""

import datetime as dt
import decimal
import gzip
import io
import json
import unicodedata
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

LABELS = ["milk", "00017", "Käse", "tea", "rye bread", "milk, fresh", "4006381333931"]
H = "customer,product,time,quantity,value\n"
R = "7,milk,2024-03-01 10:00:00,1,2.50\n"
R2 = "8,tea,2024-03-02 11:30:00,2,4.25\n"
MOMENT = dt.datetime(2024, 3, 30, 22, tzinfo=dt.UTC)
NFD = unicodedata.normalize("NFD", "Käse")


def u(text, encoding="utf-8"):
    """Bytes of a text."""
    return text.encode(encoding)


def semi(text):
    """The text as a spreadsheet with semicolons and decimal commas writes it."""
    return text.replace(",", ";").replace(".", ",")


def line(**cells):
    """One file of one line with some cells changed."""
    row = {"customer": "7", "product": "milk", "time": "2024-03-01", "quantity": "1", "value": "2"}
    return u(H + ",".join({**row, **cells}.values()) + "\n")


def lines(column, *cells):
    """A file with one line for each cell of a column."""
    return u(H) + b"".join(line(**{column: cell})[len(H) :] for cell in cells)


def parquet(**columns):
    """A Parquet file of one line with some columns changed."""
    frame = {
        "customer": [7],
        "product": ["milk"],
        "time": [pd.Timestamp("2024-03-30 23:30")],
        "quantity": [1.0],
        "value": [2.0],
        **columns,
    }
    target = io.BytesIO()
    pq.write_table(pa.table(frame), target)
    return target.getvalue()


def zipped(**files):
    """An archive."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.compression = zipfile.ZIP_DEFLATED
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_csv", ".csv"), content)
    return target.getvalue()


def zstd(content):
    """Zstandard."""
    return pa.compress(content, codec="zstd", asbytes=True)


def jsonl(*rows):
    """One JSON object a line."""
    return u("".join(json.dumps(row) + "\n" for row in rows))


def fmt(**settings):
    """Settings of the format."""
    return {"format": settings}


def rule(**settings):
    """Settings of the rules."""
    return {"rules": settings}


def pq_(**more):
    """Settings of a Parquet file."""
    return {"suffix": "parquet", **more}


ROW = {"customer": 7, "product": "milk", "time": "2024-03-01", "quantity": 1, "value": 2.5}
GERMAN = (
    "Kunde;Artikel;Datum;Menge;Betrag\n7;milk;01.03.2024 10:00;1;2,50\n8;tea;02.03.2024;2;4,25\n"
)
GERMAN_COLUMNS = {
    "columns": {
        "customer": "Kunde",
        "product": "Artikel",
        "time": "Datum",
        "quantity": "Menge",
        "value": "Betrag",
    }
}
TWO = u(H + R + R2)
FEW = "".join(f"{n},milk,2024-{1 + n % 12:02d}-{1 + n % 28:02d},1,1\n" for n in range(1, 300))

ENCODINGS = [
    ("plain", TWO, {}, (2, 6.75)),
    ("byte-order mark", b"\xef\xbb\xbf" + TWO, {}, (2, 6.75)),
    ("utf-16 with mark", u(H + R + R2, "utf-16"), {}, (2, 6.75)),
    ("utf-16-be with mark", b"\xfe\xff" + u(H + R + R2, "utf-16-be"), {}, (2, 6.75)),
    ("utf-16-le without mark", u(H + R, "utf-16-le"), {}, 'format.encoding = "'),
    ("utf-16-le said", u(H + R, "utf-16-le"), fmt(encoding="utf-16-le"), (1, 2.5)),
    ("cp1252 not said", u(H + R.replace("milk", "Käse"), "cp1252"), {}, "not UTF-8; as cp1252"),
    ("cp1252 said", u(H + R.replace("milk", "Käse"), "cp1252"), fmt(encoding="cp1252"), (1, 2.5)),
    (
        "latin-1 said",
        u(H + R.replace("milk", "Käse"), "latin-1"),
        fmt(encoding="latin-1"),
        (1, 2.5),
    ),
    (
        "utf-8 said of cp1252",
        u(H + R.replace("milk", "Käse"), "cp1252"),
        fmt(encoding="utf-8"),
        "not utf-8",
    ),
    (
        "cp1252 beyond the sample",
        u(H + R * 9000 + R.replace("milk", "Käse"), "cp1252"),
        {},
        "not utf-8 encoded",
    ),
    ("crlf", TWO.replace(b"\n", b"\r\n"), {}, (2, 6.75)),
    ("cr alone", TWO.replace(b"\n", b"\r"), {}, (2, 6.75)),
    ("crlf and lf", u(H) + u(R).replace(b"\n", b"\r\n") + u(R2), {}, (2, 6.75)),
    ("nul byte in a label", line(product="mi\0lk"), {}, "format.encoding"),
    ("no newline at the end", TWO[:-1], {}, (2, 6.75)),
    ("blank lines", u(H + R + "\n\n" + R2 + "\n"), {}, (2, 6.75)),
    ("empty cells at the end", u(H + R + ",,,,\n"), {}, (1, 2.5)),
    ("empty file", b"", {}, "cannot be read"),
    ("header alone", u(H), {}, "no transactions"),
    ("blanks alone", b"\n \n", {}, "cannot be read"),
]
DIALECTS = [
    ("semicolons", u(H + R + R2).replace(b",", b";"), {}, (2, 6.75)),
    ("tabs", TWO.replace(b",", b"\t"), {}, (2, 6.75)),
    ("bars", TWO.replace(b",", b"|"), {}, (2, 6.75)),
    ("tildes not said", TWO.replace(b",", b"~"), {}, "no column 'customer'"),
    ("tildes said", TWO.replace(b",", b"~"), fmt(separator="~"), (2, 6.75)),
    ("a line sep=;", b"sep=;\n" + TWO.replace(b",", b";"), {}, (2, 6.75)),
    ("title line not said", b"Sales 2024\n" + TWO, {}, "no column 'customer'"),
    ("title line skipped", b"Sales 2024\n" + TWO, fmt(skip=1), (2, 6.75)),
    (
        "no header",
        TWO[len(H) :],
        {**fmt(header=False), "columns": dict(zip(H.strip().split(","), "12345", strict=True))},
        (2, 6.75),
    ),
    ("header with blanks", TWO.replace(b"product,time", b" product , time"), {}, (2, 6.75)),
    (
        "header in capitals",
        TWO.replace(H.encode(), H.upper().encode()),
        {},
        "no column 'customer'; the nearest",
    ),
    ("header twice", TWO.replace(b"quantity", b"value"), {}, "two columns are called 'value'"),
    ("a trailing separator", TWO.replace(b"\n", b",\n"), {}, (2, 6.75)),
    ("columns more than wanted", TWO.replace(b"\n", b",x\n"), {}, (2, 6.75)),
    (
        "a short line",
        u(H + R + "7,milk,2024-03-01\n"),
        {},
        "row 2: cannot be read: CSV parse error",
    ),
    ("a short line dropped", u(H + R + "7,milk,2024-03-01\n"), rule(broken="drop"), (1, 2.5)),
    ("a long line", u(H + R.strip() + ",9,9\n"), {}, "Expected Number of Columns: 5"),
    ("a comma in quotes", line(product='"milk, fresh"'), {}, (1, 2.0)),
    ("a comma without quotes", line(product="milk, fresh"), {}, "Expected Number of Columns"),
    (
        "a newline in quotes",
        line(product='"rye\nbread"'),
        {},
        "'rye\nbread' is not in the catalogue",
    ),
    ("doubled quotes", line(product='"say ""milk"""'), {}, "100.0% of lines"),
    (
        "a quote inside a cell",
        u(H + '7,milk,2024-03-01,1,2\n8,milk 5" pack,2024-03-01,1,2\n'),
        {},
        (2, 4.0),
    ),
    (
        "a quote that stays open",
        u(H + R + '7,"milk,2024-03-01,1,2\n8,milk,2024-03-01,1,2\n'),
        {},
        "unterminated quote",
    ),
    ("single quotes", line(product="'milk, fresh'"), fmt(quote="'"), (1, 2.0)),
    (
        "quotes that mean nothing",
        line(product='"milk'),
        {**fmt(quote=""), **rule(near_products="match")},
        (1, 2.0),
    ),
    ("a cell of 3 MB", line(product="x" * 3_000_000), {}, "LINE SIZE|line size|Maximum"),
]
NUMBERS = [
    ("decimal commas", u(semi(H + R + R2.replace("4.25", "1234.56"))), {}, (2, 1237.06)),
    ("decimal commas in quotes", line(quantity='"1,5"', value='"2,50"'), {}, (1, 2.5)),
    ("thousands and points", line(value='"1,250.00"'), {}, (1, 1250.0)),
    ("thousands and commas", line(quantity='"1,5"', value='"1.250,00"'), {}, (1, 1250.0)),
    ("a comma of two meanings", line(value='"1,250"'), {}, 'set format.decimal = "."'),
    ("a comma said to be decimal", line(value='"1,250"'), fmt(decimal=","), (1, 1.25)),
    ("a comma said to group", line(value='"1,250"'), fmt(decimal="."), (1, 1250.0)),
    ("a point of two meanings", line(value="1.250"), {}, "numbers such as 1.250"),
    ("a point said to be decimal", line(value="1.250"), fmt(decimal="."), (1, 1.25)),
    ("a point said to group", line(value="1.250"), fmt(decimal=","), (1, 1250.0)),
    ("a point settled by others", lines("value", "1.250", "2.5"), {}, (2, 3.75)),
    ("weights of three decimals", line(quantity="0.750", value="2.125"), {}, (1, 2.125)),
    ("blanks that group", line(value="1 250.50"), {}, (1, 1250.5)),
    ("no-break spaces that group", line(value="1\u00a0250.50"), {}, (1, 1250.5)),
    ("apostrophes that group", line(value="1'250.50"), {}, (1, 1250.5)),
    ("a minus at the end", line(quantity="1-"), {}, "-1.0 is not above 0"),
    ("currency", line(value="$2"), {}, "'$2' is not a number"),
    ("underscores", line(quantity="1_000"), {}, "'1_000' is not a number"),
    ("hexadecimal", line(quantity="0x10"), {}, "'0x10' is not a number"),
    ("blanks around numbers", line(quantity=" 1 ", value=" 2 "), {}, (1, 2.0)),
    ("the word nan", line(quantity="nan"), {}, "'nan' is not a number"),
    ("the word NULL", line(value="NULL"), {}, "'NULL' is not a number"),
    ("infinity", line(quantity="inf"), {}, "inf is not finite"),
    ("1e400", line(quantity="1e400"), {}, "inf is not finite"),
    ("1e308", line(quantity="1e308"), {}, "1e+308 is above 1e+06, which is not believed"),
    ("4e12", line(quantity="4e12"), {}, "4e+12 is above 1e+06"),
    ("1e300 as a value", line(value="1e300"), {}, "is above 1e+08"),
    ("1e-320", line(quantity="1e-320"), {}, "is nearly 0"),
    ("minus zero", line(value="-0.0"), {}, (1, 0.0)),
    ("a million where it is believed", line(quantity="4e6"), rule(most_quantity=1e7), (1, 2.0)),
    ("an empty value", line(value=""), {}, "column 'value': missing"),
    ("an empty value dropped", lines("value", "", "3"), rule(broken="drop"), (1, 3.0)),
    ("scientific", line(value="1e2"), {}, (1, 100.0)),
]
CUSTOMERS = [
    *(
        (f"customer {label or 'empty'}", lines("customer", "9", label), {}, "set rules.anonymous")
        for label in ("", "NULL", "nan", "NaN", "N/A", "n/a", "0", "-1", "None", " ", "\u200b")
    ),
    ("anonymous kept", lines("customer", "9", "", "0", "NULL"), rule(anonymous="keep"), (4, 8.0)),
    (
        "anonymous dropped",
        lines("customer", "9", "", "0", "NULL"),
        rule(anonymous="drop"),
        (1, 2.0),
    ),
    ("customer 0 known", lines("customer", "9", "0"), rule(known_customers=["0"]), (2, 4.0)),
    ("customers 17850 and 17850.0", lines("customer", "17850", "17850.0"), {}, (2, 4.0)),
    ("customer rounded", line(customer="1.2E+12"), {}, "1.2E+12 was rounded by a spreadsheet"),
    ("customer beyond 2^63", line(customer="9223372036854775808"), {}, (1, 2.0)),
    ("customers 007 and 7", lines("customer", "007", "7"), {}, (2, 4.0)),
]
PRODUCTS = [
    ("label in NFD", line(product=NFD), {}, (1, 2.0)),
    ("label with a no-break space", line(product="milk\u00a0"), {}, (1, 2.0)),
    ("label with nothing visible", line(product="mi\u200blk\ufeff"), {}, (1, 2.0)),
    (
        "label in capitals",
        line(product="MILK"),
        {},
        "'MILK' is not in the catalogue, which has 'milk'",
    ),
    ("label in capitals matched", line(product="MILK"), rule(near_products="match"), (1, 2.0)),
    (
        "label in capitals kept",
        lines("product", "MILK", "milk", "milk"),
        rule(near_products="keep"),
        (3, 6.0),
    ),
    ("label without zeros", line(product="17"), {}, "which has '00017'"),
    ("label without zeros matched", line(product="17"), rule(near_products="match"), (1, 2.0)),
    ("label without accents", line(product="Kase"), {}, "which has 'Käse'"),
    ("label of a spreadsheet", line(product="4006381333931.0"), {}, (1, 2.0)),
    ("label rounded", line(product="4.00638E+12"), {}, "was rounded by a spreadsheet"),
    ("label empty", line(product=""), {}, "column 'product': missing"),
    (
        "labels mostly unknown",
        lines("product", "x", "y", "milk"),
        {},
        "66.7% of lines have a product",
    ),
    ("labels unknown, few", lines("product", "x", "tea", "milk"), {}, (3, 6.0)),
    (
        "labels unknown, believed",
        lines("product", "x", "y", "milk"),
        rule(most_unmatched=1.0),
        (3, 6.0),
    ),
]
TIMES = [
    ("an offset", line(time="2024-03-30T23:30:00+01:00"), {}, (1, 2.0)),
    (
        "offsets over a clock change",
        lines("time", "2024-03-30T10:00:00+01:00", "2024-04-01T10:00:00+02:00"),
        {},
        (2, 4.0),
    ),
    (
        "UTC not said",
        line(time="2024-03-30T23:30:00Z"),
        {},
        "is in UTC, which is no shop's clock; set format.timezone",
    ),
    ("UTC said", line(time="2024-03-30T23:30:00Z"), fmt(timezone="Europe/Berlin"), (1, 2.0)),
    (
        "UTC and none",
        lines("time", "2024-03-30T23:30:00Z", "2024-03-30T23:30:00"),
        {},
        "mixes time zones",
    ),
    ("day and time", lines("time", "2024-03-30", "2024-03-30 23:30"), {}, (2, 4.0)),
    ("an hour that was twice", line(time="2024-10-27T02:30:00"), {}, (1, 2.0)),
    ("days with points", lines("time", "30.03.2024", "1.4.2024 08:15"), {}, (2, 4.0)),
    ("days with slashes, day first", lines("time", "30/03/2024", "01/04/2024"), {}, (2, 4.0)),
    (
        "days with slashes, month first",
        lines("time", "03/30/2024 8:26", "04/01/2024 9:00"),
        {},
        (2, 4.0),
    ),
    (
        "days of two meanings",
        lines("time", "03/04/2024", "05/06/2024"),
        {},
        "a day of two meanings",
    ),
    (
        "days of two meanings, said",
        lines("time", "03/04/2024", "05/06/2024"),
        fmt(time="month-first"),
        (2, 4.0),
    ),
    (
        "days of both kinds",
        lines("time", "13/04/2024", "04/13/2024"),
        {},
        "'04/13/2024' is not a date or time",
    ),
    ("eight digits", line(time="20240330"), {}, (1, 2.0)),
    ("a year", line(time="2024"), {}, "'2024' is not a date or time"),
    ("a month", line(time="2024-03"), {}, "is not a date or time"),
    ("a week", line(time="2020-W53-1"), {}, "is not a date or time"),
    ("a time alone", line(time="10:00"), {}, "is not a date or time"),
    ("24 o'clock", line(time="2024-03-30 24:00:00"), {}, "is not a date or time"),
    ("a leap second", line(time="2016-12-31 23:59:60"), {}, "is not a date or time"),
    ("30 February", line(time="2024-02-30"), {}, "is not a date or time"),
    ("year 9999", line(time="9999-12-31"), {}, "'9999-12-31' is beyond the years 1678 to 2261"),
    ("year 1600", line(time="1600-01-01"), {}, "is beyond the years"),
    ("the word now", line(time="now"), {}, "'now' is not a date or time"),
    ("the word infinity", line(time="infinity"), {}, "is not a date or time"),
    ("blanks around a day", line(time=" 2024-03-30 "), {}, (1, 2.0)),
    ("nanoseconds", line(time="2024-03-30 10:00:00.123456789"), {}, (1, 2.0)),
    ("seconds since 1970", line(time="1711800000"), {}, 'format.time = "epoch-s"'),
    (
        "seconds since 1970, said",
        line(time="1711800000"),
        fmt(time="epoch-s", timezone="Europe/Berlin"),
        (1, 2.0),
    ),
    (
        "milliseconds since 1970, said",
        line(time="1711800000000"),
        fmt(time="epoch-ms", timezone="UTC"),
        (1, 2.0),
    ),
    ("days of a spreadsheet, said", line(time="45381.5"), fmt(time="excel"), (1, 2.0)),
    ("years of two digits", line(time="30.03.24"), {}, "set format.time"),
    ("years of two digits, said", line(time="30.03.24"), fmt(time="%d.%m.%y"), (1, 2.0)),
    (
        "a clock of twelve hours, said",
        line(time="3/30/2024 8:26 PM"),
        fmt(time="%m/%d/%Y %I:%M %p"),
        (1, 2.0),
    ),
    (
        "one day in 2042",
        u(H + FEW) + line(time="2042-01-01")[len(H) :],
        {},
        "on 2042-01-01; set data.period",
    ),
    (
        "one day in 2042, dropped",
        u(H + FEW) + line(time="2042-01-01")[len(H) :],
        rule(stray_days="drop"),
        (299, 299.0),
    ),
    (
        "one day in 2042, a period",
        u(H + FEW) + line(time="2042-01-01")[len(H) :],
        {"period": ["2024-01-01", "2024-12-31"]},
        (299, 299.0),
    ),
    ("one day in 1985", u(H + FEW) + line(time="1985-01-01")[len(H) :], {}, "far from all others"),
    (
        "outside refused",
        u(H + R),
        {"period": ["2025-01-01", "2025-12-31"], **rule(outside="refuse")},
        "2024-03-01 is not in the period",
    ),
    ("none in the period", u(H + R), {"period": ["2025-01-01", "2025-12-31"]}, "no transactions"),
    (
        "half a period",
        u(H + FEW.replace("2024-1", "2023-1")),
        {"period": ["2023-10-01", "2025-12-31"]},
        "looks like customers who left",
    ),
]
RETURNS = [
    ("a return", u(H + R + "7,milk,2024-03-02,-1,-2.50\n"), {}, 'set rules.returns = "net"'),
    ("a return dropped", u(H + R + "7,milk,2024-03-02,-1,-2.50\n"), rule(returns="drop"), (1, 2.5)),
    (
        "a return netted",
        u(H + R + R2 + "7,milk,2024-03-02,-1,-2.50\n"),
        rule(returns="net"),
        (1, 4.25),
    ),
    (
        "half a return netted",
        u(H + "7,milk,2024-03-01,4,8\n7,milk,2024-03-02,-1,-2\n"),
        rule(returns="net"),
        (1, 6.0),
    ),
    (
        "a return of nothing",
        u(H + R + "9,milk,2024-03-02,-1,-2.50\n"),
        rule(returns="net"),
        (1, 2.5),
    ),
    (
        "a return before it was bought",
        u(H + R + "7,milk,2024-02-02,-1,-2.50\n"),
        rule(returns="net"),
        (1, 2.5),
    ),
    ("quantity 0", line(quantity="0"), {}, "0.0 is not above 0; set rules.zero_quantity"),
    ("quantity 0 dropped", lines("quantity", "0", "1"), rule(zero_quantity="drop"), (1, 2.0)),
    ("a negative price", line(value="-2"), {}, "-2.0 is below 0; set rules.negative_value"),
    ("a negative price dropped", lines("value", "-2", "3"), rule(negative_value="drop"), (1, 3.0)),
    (
        "a unit price",
        u(H.replace("value", "price") + R2),
        {"columns": {"price": "price"}},
        (1, 8.5),
    ),
]
PARQUET = [
    ("parquet", parquet(), pq_(), (1, 2.0)),
    (
        "parquet, zone of Berlin",
        parquet(time=pa.array([MOMENT], pa.timestamp("us", "Europe/Berlin"))),
        pq_(),
        (1, 2.0),
    ),
    (
        "parquet, UTC",
        parquet(time=pa.array([MOMENT], pa.timestamp("us", "UTC"))),
        pq_(),
        "is in UTC",
    ),
    (
        "parquet, UTC said",
        parquet(time=pa.array([MOMENT], pa.timestamp("us", "UTC"))),
        pq_(**fmt(timezone="Europe/Berlin")),
        (1, 2.0),
    ),
    ("parquet, whole floats", parquet(customer=[7.0]), pq_(), (1, 2.0)),
    (
        "parquet, floats with gaps",
        parquet(
            customer=[7.0, np.nan],
            product=["milk"] * 2,
            time=[dt.date(2024, 3, 1)] * 2,
            quantity=[1, 1],
            value=[2, 2],
        ),
        pq_(),
        "rules.anonymous",
    ),
    ("parquet, fractions", parquet(customer=[7.5]), pq_(), "7.5 is a fraction"),
    (
        "parquet, integers with gaps",
        parquet(customer=pa.array([None], pa.int64())),
        pq_(),
        "column 'customer': missing",
    ),
    ("parquet, uint64", parquet(customer=pa.array([2**63 + 5], pa.uint64())), pq_(), (1, 2.0)),
    (
        "parquet, dictionaries",
        parquet(
            customer=pa.array(["a"]).dictionary_encode(),
            product=pa.array(["milk"]).dictionary_encode(),
        ),
        pq_(),
        (1, 2.0),
    ),
    (
        "parquet, decimals",
        parquet(quantity=[decimal.Decimal("1.50")], value=[decimal.Decimal("2.25")]),
        pq_(),
        (1, 2.25),
    ),
    ("parquet, days", parquet(time=[dt.date(2024, 3, 30)]), pq_(), (1, 2.0)),
    ("parquet, days as text", parquet(time=["2024-03-30"]), pq_(), (1, 2.0)),
    ("parquet, days as numbers", parquet(time=[20240330]), pq_(), "holds int64, wanted dates"),
    (
        "parquet, days as numbers, said",
        parquet(time=[20240330]),
        pq_(**fmt(time="%Y%m%d")),
        (1, 2.0),
    ),
    ("parquet, bytes", parquet(product=[b"milk"]), pq_(), "holds bytes, wanted text"),
    ("parquet, integer labels", parquet(product=[4006381333931]), pq_(), (1, 2.0)),
    (
        "parquet, year 9999",
        parquet(time=pa.array([dt.datetime(9999, 12, 31, tzinfo=dt.UTC)], pa.timestamp("us"))),
        pq_(),
        "is beyond the years",
    ),
    ("parquet, float32", parquet(quantity=pa.array([1.5], pa.float32())), pq_(), (1, 2.0)),
    ("parquet, booleans", parquet(quantity=[True]), pq_(), "holds bool, wanted numbers"),
    (
        "parquet, empty",
        parquet(
            customer=pa.array([], pa.int64()),
            product=pa.array([], pa.string()),
            time=pa.array([], pa.timestamp("us")),
            quantity=pa.array([], pa.float64()),
            value=pa.array([], pa.float64()),
        ),
        pq_(),
        "no transactions",
    ),
    ("parquet, cut off", parquet()[:-20], pq_(), "cannot be read"),
    (
        "parquet, no such column",
        parquet(quantity=[1]).replace(b"quantity", b"quantify"),
        pq_(),
        "no column 'quantity'; the nearest is 'quantify'",
    ),
]
CONTAINERS = [
    ("gzip", gzip.compress(TWO), {"suffix": "csv.gz"}, (2, 6.75)),
    ("gzip in capitals", gzip.compress(TWO), {"suffix": "CSV.GZ"}, (2, 6.75)),
    (
        "gzip of cp1252",
        gzip.compress(u(H + R.replace("milk", "Käse"), "cp1252")),
        {"suffix": "csv.gz", **fmt(encoding="cp1252")},
        (1, 2.5),
    ),
    ("gzip damaged", gzip.compress(TWO)[:-12], {"suffix": "csv.gz"}, "cannot be read"),
    ("no gzip", TWO, {"suffix": "csv.gz"}, "cannot be read"),
    ("zstandard", zstd(TWO), {"suffix": "csv.zst"}, (2, 6.75)),
    ("zip", zipped(a_csv=u(H + R), b_csv=u(H + R2)), {"suffix": "zip"}, (2, 6.75)),
    ("zip from a Mac", zipped(a_csv=TWO, __MACOSX___a_csv=b"\0"), {"suffix": "zip"}, (2, 6.75)),
    (
        "zip with a stranger",
        zipped(a_csv=TWO, photo=b"\0"),
        {"suffix": "zip"},
        "neither .csv nor .parquet",
    ),
    ("zip of zips", zipped(**{"a.zip": zipped(a_csv=TWO)}), {"suffix": "zip"}, "within an archive"),
    ("zip that grows", zipped(a_csv=bytes(80 << 20)), {"suffix": "zip"}, "over 200 times its size"),
    ("no zip", TWO, {"suffix": "zip"}, "cannot be read"),
    ("capital suffix", TWO, {"suffix": "CSV"}, (2, 6.75)),
    ("suffix pq", parquet(), {"suffix": "pq"}, (1, 2.0)),
    ("suffix txt, tabs", TWO.replace(b",", b"\t"), {"suffix": "txt"}, (2, 6.75)),
    ("json lines", jsonl(ROW, {**ROW, "value": 4.25}), {"suffix": "jsonl"}, (2, 6.75)),
    (
        "json lines, an empty customer",
        jsonl(ROW, {**ROW, "customer": None}),
        {"suffix": "jsonl"},
        "rules.anonymous",
    ),
    (
        "json lines, damaged",
        jsonl(ROW) + b'{"customer": 7,\n',
        {"suffix": "jsonl"},
        "cannot be read",
    ),
    ("folder", {"a.csv": u(H + R), "b.csv": u(H + R2)}, {}, (2, 6.75)),
    (
        "folder, mixed",
        {"a.CSV": u(H + R), "b.csv.gz": gzip.compress(u(H + R2)), "c.pq": parquet()},
        {},
        (3, 8.75),
    ),
    ("folder of folders", {"2023/a.csv": u(H + R), "2024/b.csv": u(H + R2)}, {}, (2, 6.75)),
    ("folder, header alone", {"a.csv": TWO, "b.csv": u(H)}, {}, (2, 6.75)),
    ("folder, empty file", {"a.csv": TWO, "b.csv": b""}, {}, "b.csv: cannot be read"),
    (
        "folder, hidden files",
        {"a.csv": TWO, "._a.csv": b"\0\5", ".~lock.a.csv#": b"x", "a.csv~": TWO, "_SUCCESS": b""},
        {},
        (2, 6.75),
    ),
    ("folder, a stranger", {"a.csv": TWO, "notes.doc": b"x"}, {}, "neither .csv nor .parquet"),
    ("folder, a copy", {"1.csv": TWO, "1 (1).csv": TWO}, {}, "has the same lines as"),
    (
        "folder, a packed copy",
        {"1.csv": TWO, "2.csv.gz": gzip.compress(TWO)},
        {},
        "has the same lines as",
    ),
    (
        "folder, a copy dropped",
        {"1.csv": TWO, "1 (1).csv": TWO},
        rule(duplicate_files="drop"),
        (2, 6.75),
    ),
    (
        "folder, other columns",
        {"a.csv": TWO, "b.csv": u(H.replace("value", "price") + R)},
        {},
        "b.csv: no column 'value'",
    ),
    (
        "pattern",
        {"north-1.csv": u(H + R), "south.csv": u(H + R2)},
        {"pattern": "north*.csv"},
        (1, 2.5),
    ),
    ("pattern of nothing", {"a.csv": TWO}, {"pattern": "x*.csv"}, "no such file"),
    ("german export", u(GERMAN), GERMAN_COLUMNS, (2, 6.75)),
]


def xlsx(*rows):
    """A workbook of one sheet."""
    import openpyxl

    book, target = openpyxl.Workbook(), io.BytesIO()
    for row in rows:
        book.active.append(row)
    book.save(target)
    return target.getvalue()


HEAD = H.strip().split(",")
EXCEL = {"suffix": "xlsx"}
NOON = dt.datetime(2024, 3, 1, 12, tzinfo=dt.UTC).replace(tzinfo=None)
SOLD = [
    f"{n},milk,2024-{1 + n % 12:02d}-{1 + n % 28:02d},1,{n}.25\n".encode() for n in range(1, 300)
]
TILL = "".join(
    f"{99999 if n % 2 else n},milk,2024-01-{1 + n % 28:02d} {n % 24:02d}:{n % 60:02d},1,{n}.5\n"
    for n in range(1, 2400)
)
COMMAS = "customer;product;time;quantity;value;discount\n7;milk;2024-03-01;{};2,50;0,10\n"
DISCOUNT = {"columns": {"discount": "discount"}}
TWICE = [
    ("folder, a copy in another order", {"1.csv": TWO, "2.csv": u(H + R2 + R)}, {}, "same lines"),
    (
        "folder, a copy of other ends",
        {"1.csv": TWO, "2.csv": TWO.replace(b"\n", b"\r\n")},
        {},
        "same",
    ),
    (
        "folder, months that overlap",
        {"1.csv": u(H) + b"".join(SOLD[:200]), "2.csv": u(H) + b"".join(SOLD[60:])},
        {},
        "140 lines (31.9%) are equal to an earlier one",
    ),
    (
        "folder, an overlap dropped",
        {"1.csv": u(H) + b"".join(SOLD[:200]), "2.csv": u(H) + b"".join(SOLD[60:])},
        rule(repeated_lines="drop"),
        (299, 44924.75),
    ),
    ("a line twice", u(H + R + R2 + R), {}, (3, 9.25)),
    ("a line twice, dropped", u(H + R + R2 + R), rule(repeated_lines="drop"), (2, 6.75)),
    ("the header again", TWO + TWO, {}, "row 3, column 'time': 'time' is not a date"),
    (
        "a sum at the end",
        u(H + R + R2 + "Total,,,3,6.75\n"),
        {},
        "row 3, column 'product': missing",
    ),
    (
        "a sum without a customer",
        u(H + R + R2 + ",,,3,6.75\n"),
        rule(anonymous="keep"),
        "row 3, column 'product': missing",
    ),
    ("a word of the database", u(H + R + R2 + "(2 rows affected)\n"), {}, "row 3: cannot be read"),
    ("a rule under the header", u(H + "----,---,---,---,---\n" + R), {}, "'---' is not a date"),
    ("a table of psql", u(H + R).replace(b",", b" | "), {}, (1, 2.5)),
    ("a card of the till", u(H + TILL), {}, "customer '99999' has 50% of all lines"),
    (
        "a card of the till, named",
        u(H + TILL),
        rule(unknown_customers=["99999"], anonymous="drop"),
        (1199, 1439399.5),
    ),
    ("a card of the till, believed", u(H + TILL), rule(most_of_one=0.6), (2399, 2879999.5)),
    (
        "a tenth on a day that means none",
        u(H) + b"".join(SOLD) + u("".join(f"{n},tea,1900-01-01,1,1\n" for n in range(1, 31))),
        {},
        "on 1900-01-01; set data.period",
    ),
]
MEANINGS = [
    ("0.750 beside commas", u(COMMAS.format("0.750")), DISCOUNT, "'0.750' is not a number"),
    ("1.000 beside commas", u(COMMAS.format("1.000")), DISCOUNT, "'quantity' has numbers such as"),
    (
        "1.000 beside commas, said",
        u(COMMAS.format("1.000")),
        {**DISCOUNT, **fmt(decimal=",")},
        (1, 2.5),
    ),
    ("1,000 beside points", lines("quantity", '"1,000"', '"2,000"'), {}, "such as 1.250"),
    ("points and commas", lines("value", "2.50", '"2,50"'), {}, "'2,50' is not a number"),
    ("brackets for a minus", line(value="(2.50)"), {}, "'(2.50)' is not a number"),
    ("a minus of typography", line(quantity="\u22121"), {}, "is not a number"),
    ("digits of another script", line(quantity="\uff11"), {}, "is not a number"),
    ("a unit", line(quantity="2 kg"), {}, "'2 kg' is not a number"),
    ("a percentage", line(value="10%"), {}, "'10%' is not a number"),
    ("lakhs", line(value='"1,00,000.00"'), {}, "'1,00,000.00' is not a number"),
    ("twelve hours, not said", line(time="2024-03-30 10:00:00 PM"), {}, "is not a date"),
    ("a zone by letters", line(time="2024-03-30 10:00:00 CET"), {}, "is not a date"),
    ("single digits", line(time="2024-3-5"), {}, "'2024-3-5' is not a date"),
    ("milliseconds after a comma", line(time='"2024-03-30 10:00:00,123"'), {}, "is not a date"),
    ("days with hyphens", lines("time", "30-03-2024", "31-03-2024"), {}, (2, 4.0)),
    ("months said, days met", line(time="13.04.2024"), fmt(time="month-first"), "is not a date"),
    (
        "milliseconds said seconds",
        line(time="1711800000000"),
        fmt(time="epoch-s", timezone="UTC"),
        "is",
    ),
    ("a break within a label", line(product="mi\u2028lk"), {}, "which has 'milk'"),
    ("a soft hyphen", line(product="mi\u00adlk"), {}, (1, 2.0)),
    (
        "gzip of two parts",
        gzip.compress(u(H + R)) + gzip.compress(u(R2)),
        {"suffix": "csv.gz"},
        (2, 6.75),
    ),
    ("zstandard of two parts", zstd(u(H + R)) + zstd(u(R2)), {"suffix": "csv.zst"}, (2, 6.75)),
    ("bzip2", b"x", {"suffix": "csv.bz2"}, "neither .csv nor .parquet"),
    ("utf-32", u(H + R, "utf-32"), {}, "no column 'customer'"),
    ("null bytes at the end", TWO + bytes(20), {}, "null bytes in it"),
    ("a mark of DOS at the end", TWO + b"\x1a", {}, "row 3: cannot be read"),
    ("two byte-order marks", b"\xef\xbb\xbf" * 2 + TWO, {}, "no column 'customer'"),
    ("a byte-order mark within", TWO + b"\xef\xbb\xbf" + u(R2), {}, (3, 11.0)),
]
TYPED = [
    (
        "parquet, customers of 32 bits",
        parquet(customer=pa.array([16777217.0], pa.float32())),
        pq_(),
        "beyond the integers that its column's type keeps apart",
    ),
    ("parquet, customers beyond 2^53", parquet(customer=[2.0**53 + 2]), pq_(), "keeps apart"),
    ("parquet, text of two meanings", parquet(value=["1.250"]), pq_(), "numbers such as 1.250"),
    ("parquet, text with commas", parquet(value=["2,50"]), pq_(), (1, 2.5)),
    ("parquet, lists", parquet(product=pa.array([["milk"]])), pq_(), "wanted text or integers"),
    ("parquet, hours", parquet(time=pa.array([3600], pa.time32("s"))), pq_(), "holds time, wanted"),
    (
        "parquet, views of text",
        parquet(product=pa.array(["milk"], pa.string_view())),
        pq_(),
        (1, 2.0),
    ),
    ("parquet, nothing", parquet(customer=pa.nulls(1)), pq_(), "rules.anonymous"),
    ("hive", {"y=1/a.parquet": parquet(), "y=2/a.parquet": parquet(value=[3.0])}, {}, (2, 5.0)),
    ("json, a list", u(json.dumps([ROW, {**ROW, "value": 4.25}])), {"suffix": "json"}, (2, 6.75)),
    (
        "json, text of two meanings",
        jsonl({**ROW, "value": "1.250"}),
        {"suffix": "jsonl"},
        "numbers such as 1.250",
    ),
    ("json, a number", jsonl({**ROW, "value": 1.125}), {"suffix": "jsonl"}, (1, 1.125)),
    ("json, text with commas", jsonl({**ROW, "value": "2,50"}), {"suffix": "jsonl"}, (1, 2.5)),
    (
        "json, numbers where commas are said",
        jsonl({**ROW, "value": 1.5}),
        {"suffix": "jsonl", **fmt(decimal=",")},
        (1, 1.5),
    ),
    (
        "json, customers beyond 2^53",
        jsonl(*({**ROW, "customer": 2**53 + n} for n in (0, 1))),
        {"suffix": "jsonl"},
        (2, 5.0),
    ),
    (
        "json, a name in capitals",
        jsonl(ROW, {"Customer": 8, **{k: v for k, v in ROW.items() if k != "customer"}}),
        {"suffix": "jsonl"},
        "rules.anonymous",
    ),
    (
        "json, a name twice",
        b'{"customer":7,"customer":9,"product":"milk","time":"2024-03-01","quantity":1,"value":2}\n',
        {"suffix": "jsonl"},
        "cannot be read",
    ),
    ("json, a truth", jsonl({**ROW, "quantity": True}), {"suffix": "jsonl"}, "is not a number"),
    (
        "excel",
        xlsx(HEAD, [7, "milk", NOON, 1, 2.5], [8, "tea", NOON.date(), 2, 4.25]),
        EXCEL,
        (2, 6.75),
    ),
    (
        "excel, text of two meanings",
        xlsx(HEAD, [7, "milk", NOON, 1, "1.250"]),
        EXCEL,
        "such as 1.250",
    ),
    ("excel, a number", xlsx(HEAD, [7, "milk", NOON, 1, 1.125]), EXCEL, (1, 1.125)),
    (
        "excel, a formula",
        xlsx(HEAD, [7, "milk", NOON, 1, "=1+1"]),
        EXCEL,
        "column 'value': missing",
    ),
    (
        "excel, a title",
        xlsx(["Sales"], HEAD, [7, "milk", NOON, 1, 2]),
        EXCEL,
        "no column 'customer'",
    ),
    ("excel, days as numbers", xlsx(HEAD, [7, "milk", 45381.5, 1, 2]), EXCEL, "is not a date"),
]
CASES = [
    *TWICE,
    *MEANINGS,
    *TYPED,
    *ENCODINGS,
    *DIALECTS,
    *NUMBERS,
    *CUSTOMERS,
    *PRODUCTS,
    *TIMES,
    *RETURNS,
    *PARQUET,
    *CONTAINERS,
]
