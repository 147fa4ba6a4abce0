"""The smaller tables: catalogue, profiles, browsing, promotions and shelf prices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from securefl.config.data import CatalogueColumns
from securefl.config.files import FileFormat
from securefl.data.schema import (
    LEVELS,
    PLAIN_EVENT,
    PRICES,
    UNKNOWN_PRODUCT,
    Origin,
    check_distinct,
    check_table,
)
from securefl.data.sources.files.batches import Batch, Wanted, batches, examples
from securefl.data.sources.files.catalogue import NEAR, Matcher
from securefl.data.sources.files.engine import name, select
from securefl.data.sources.files.expressions import is_text
from securefl.data.sources.files.findings import FIRST, Findings
from securefl.data.sources.files.identity import customer_numbering, product_key
from securefl.data.sources.files.labels import (
    IN_STORE,
    MISSING,
    NOT_A_GTIN,
    ROUNDED,
    Numbering,
    is_rounded,
    normalised,
)
from securefl.data.sources.files.locate import table_files
from securefl.data.sources.files.scans import Scan, scans, unreadable
from securefl.errors import DataError, InputError

Judge = Callable[[Scan, Batch], pd.DataFrame]

_WEEKLY: Final = (
    Wanted("member", "member", "text"),
    Wanted("product", "product", "label"),
    Wanted("week", "week", "time"),
)
_PROMOTIONS: Final = (
    *_WEEKLY,
    Wanted("display", "display", "flag"),
    Wanted("mailer", "mailer", "flag"),
)
_PRICES: Final = (*_WEEKLY, Wanted("price", "price", "number"))
_EVENTS: Final = (
    Wanted("customer", "customer", "label"),
    Wanted("product", "product", "label"),
    Wanted("time", "time", "time"),
)


def read_catalogue(
    path: Path,
    columns: CatalogueColumns,
    given: FileFormat,
    findings: Findings,
    kind: str = "label",
) -> pd.DataFrame:
    """The agreed products in the order of the file, and the out-of-vocabulary row after them.

    Args:
        path: The file.
        columns: What its columns are called.
        given: How it is written.
        findings: Where everything that is found goes.
        kind: What makes two products the same one, as `Identity.products`.

    Raises:
        InputError: A file is missing, or is none that is read.
        DataError: The file is damaged, has no products, or has one twice.
    """
    files = table_files(path)
    if len(files) != 1:
        raise InputError(f"{path}: the catalogue is one file")
    names = {
        column: given_name for column, given_name in columns.model_dump().items() if given_name
    }
    wanted = [Wanted(c, n, "label" if c == "product" else "text") for c, n in names.items()]
    parts = list(
        _read(path, wanted, given, findings, partial(_products, kind=kind, findings=findings))
    )
    if not sum(len(part) for part in parts):
        raise DataError(f"{path}: no products")
    raw = pd.concat(parts, ignore_index=True)
    origin = Origin(str(files[0].label), names)
    check_distinct(raw, "product", origin)
    frame = pd.DataFrame({"product": np.arange(len(raw), dtype=np.int64)})
    for level in LEVELS:
        text = raw.get(level, "")
        frame[level] = pd.Series(text, index=frame.index, dtype="str")
    frame["label"] = raw["product"].astype("str")
    unknown = {"product": UNKNOWN_PRODUCT, **dict.fromkeys([*LEVELS, "label"], "")}
    return pd.concat([frame, pd.DataFrame([unknown])], ignore_index=True)


def _products(scan: Scan, batch: Batch, kind: str, findings: Findings) -> pd.DataFrame:
    columns = {column: _text(values) for column, values in batch.values.items()}
    keys = [product_key(normalised(cell), kind) for cell in columns["product"]]
    wrong = np.array([bool(problem) for _, problem in keys], dtype=bool)
    if wrong.any():
        rows = np.flatnonzero(wrong)[:FIRST]
        said = [f"'{columns['product'][row]}' {keys[row][1]}" for row in rows]
        findings.add(
            "bad_gtin",
            scan.label,
            batch.names["product"],
            lines=int(wrong.sum()),
            first=examples(batch, wrong, said),
            action="refuse",
        )
    # What is refused keeps its own name, so that it is not called a repetition besides.
    columns["product"] = [
        key or cell for (key, _), cell in zip(keys, columns["product"], strict=True)
    ]
    return pd.DataFrame(columns, dtype="str")


def _text(values: pa.Array) -> list[str]:
    return ["" if cell is None else str(cell) for cell in values.to_pylist()]


def _read(
    path: Path,
    wanted: Sequence[Wanted],
    given: FileFormat,
    findings: Findings,
    judge: Judge,
    *,
    optional: Sequence[Wanted] = (),
) -> Iterator[pd.DataFrame]:
    """Yield what `judge` makes of each batch of each file; cells without a value are refused."""
    for file in table_files(path):
        columns = [one.name for one in (*wanted, *optional)]
        with scans(file, given, columns, apart=findings.apart) as found:
            for scan in found:
                there = [*wanted, *(one for one in optional if one.name in scan.types)]
                for batch in batches(scan, there, given, findings):
                    _refuse_gaps(scan, batch, wanted, findings)
                    yield judge(scan, batch)


def _refuse_gaps(scan: Scan, batch: Batch, wanted: Sequence[Wanted], findings: Findings) -> None:
    """Refuse rows of an agreed table that lack a cell: no rule drops them."""
    for one in wanted:
        gaps = batch.missing(one.column)
        if one.kind == "text" and one.column != "member":
            continue
        if one.kind == "label":
            cells = _text(batch.values[one.column])
            blank = [not normalised(cell) or is_rounded(cell) for cell in cells]
            gaps |= np.array(blank, dtype=bool)
        if gaps.any():
            found = examples(batch, gaps, None, one.column)
            findings.add(
                "cells", scan.label, one.name, lines=int(gaps.sum()), first=found, action="refuse"
            )


def read_profiles(
    path: Path, given: FileFormat, findings: Findings, pepper: bytes | None
) -> pd.DataFrame:
    """Return customers with all their attributes, as they are.

    Raises:
        InputError: As in `read_catalogue`.
        DataError: As in `read_catalogue`; also where a customer occurs twice, unless lines are
            judged apart.
    """
    parts = []
    customer = Wanted("customer", "customer", "label")
    number = customer_numbering(findings.rules, pepper)
    for file in table_files(path):
        with scans(file, given, ["customer"], apart=findings.apart) as found:
            for scan in found:
                numbers = []
                for batch in batches(scan, [customer], given, findings):
                    _refuse_gaps(scan, batch, [customer], findings)
                    numbers.append(number(batch.values["customer"]))
                frame = _attributes(scan)
                parts.append(frame.assign(customer=np.concatenate([*numbers, _NONE])))
    frame = pd.concat(parts, ignore_index=True)
    if findings.apart:  # such a customer is left out, and nobody else
        return frame[~frame["customer"].duplicated(keep=False)].reset_index(drop=True)
    check_distinct(frame, "customer", Origin(str(path)))
    return frame


_NONE: Final[npt.NDArray[np.int64]] = np.zeros(0, dtype=np.int64)


def _attributes(scan: Scan) -> pd.DataFrame:
    import duckdb

    cells = ", ".join(
        f"CAST({name(column)} AS VARCHAR) AS {name(column)}" if is_text(kind) else name(column)
        for column, kind in scan.types.items()
    )
    try:
        table = scan.connection.execute(select(cells, scan.relation)).to_arrow_table()
    except (duckdb.Error, OSError) as problem:
        raise unreadable(scan.label, problem) from problem
    frame: pd.DataFrame = table.to_pandas()
    return frame


_NO_EVENTS: Final = pd.DataFrame(
    {
        "customer": _NONE,
        "product": _NONE,
        "time": np.zeros(0, dtype="datetime64[ns]"),
    }
)


def read_browsing(
    path: Path,
    given: FileFormat,
    matcher: Matcher,
    findings: Findings,
    pepper: bytes | None,
) -> pd.DataFrame:
    """Return events: products looked at, and whatever else a column `event` names.

    Raises:
        InputError: As in `read_catalogue`.
        DataError: As in `read_catalogue`.
    """
    customer = customer_numbering(findings.rules, pepper)

    def events(scan: Scan, batch: Batch) -> pd.DataFrame:
        frame = pd.DataFrame(
            {
                "customer": customer(batch.values["customer"]),
                "product": _known_products(batch, matcher),
                "time": batch.times("time"),
            }
        )
        if "event" in batch.values:
            frame["event"] = pd.Series(_text(batch.values["event"]), dtype="str").str.strip()
        return frame

    event = (Wanted("event", "event", "text"),)
    parts = [_NO_EVENTS, *_read(path, _EVENTS, given, findings, events, optional=event)]
    frame = pd.concat(parts, ignore_index=True)
    if "event" in frame:
        frame["event"] = frame["event"].fillna(PLAIN_EVENT).replace("", PLAIN_EVENT)
    return frame


def _known_products(batch: Batch, matcher: Matcher) -> npt.NDArray[np.int64]:
    """Return numbers of products; a near label counts as the rule of the member says."""
    numbers = Numbering(matcher, MISSING)(batch.values["product"])
    near = numbers <= NEAR
    numbers[near] = NEAR - numbers[near] if matcher.near == "match" else UNKNOWN_PRODUCT
    numbers[np.isin(numbers, (MISSING, ROUNDED, NOT_A_GTIN, IN_STORE))] = UNKNOWN_PRODUCT
    return numbers


def read_promotions(
    path: Path, matcher: Matcher, members: list[str], given: FileFormat, findings: Findings
) -> pd.DataFrame:
    """Return the promotions of all members, one row a member, product and week.

    Raises:
        InputError: As in `read_catalogue`.
        DataError: As in `read_catalogue`; also where a row names no member.
    """

    def promoted(scan: Scan, batch: Batch) -> pd.DataFrame:
        flags = {
            column: batch.values[column].fill_null(False).to_numpy(zero_copy_only=False)
            for column in ("display", "mailer")
        }
        return _weekly(scan, batch, matcher, members).assign(**flags)

    parts = list(_read(path, _PROMOTIONS, given, findings, promoted))
    keys = ["member", "product", "week"]
    return pd.concat(parts).groupby(keys, as_index=False)[["display", "mailer"]].any()


def read_prices(
    path: Path, matcher: Matcher, members: list[str], given: FileFormat, findings: Findings
) -> pd.DataFrame:
    """Return the shelf prices of all members, one row a member, product and week.

    Raises:
        InputError: As in `read_catalogue`.
        DataError: As in `read_catalogue`; also where a row names no member.
    """

    def priced(scan: Scan, batch: Batch) -> pd.DataFrame:
        frame = _weekly(scan, batch, matcher, members).assign(price=batch.numbers("price"))
        findings.check()
        check_table(frame, PRICES, Origin(scan.label))
        return frame

    parts = list(_read(path, _PRICES, given, findings, priced))
    keys = ["member", "product", "week"]
    return pd.concat(parts).groupby(keys, as_index=False)[["price"]].median()


def _weekly(scan: Scan, batch: Batch, matcher: Matcher, members: list[str]) -> pd.DataFrame:
    """Return member, product and Monday of each row."""
    member = pd.Series(_text(batch.values["member"]), dtype="str").str.strip()
    strangers = ~member.isin(members)
    if strangers.any():
        row = int(strangers.to_numpy().argmax())
        raise Origin(scan.label).error(
            "member", batch.start + row, f"'{member.iloc[row]}' is no member"
        )
    week = pd.Series(batch.times("week")).dt.normalize()
    return pd.DataFrame(
        {
            "member": member,
            "product": _known_products(batch, matcher),
            "week": week - pd.to_timedelta(week.dt.day_of_week, unit="D"),
        }
    )
