"""Labels that retailers use, and purchases under them: in a table of pandas, or in files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import pandas as pd
from pandas.api import types

from securefl.config.data import FilesSettings
from securefl.data.schema import ANONYMOUS, TRANSACTIONS, Origin, check_table, first_true
from securefl.data.sources.files.identity import customer_number, pepper_of
from securefl.data.sources.files.labels import normalised, stable_id
from securefl.data.sources.files.member import distinct_customers
from securefl.errors import DataError

ORIGIN: Final = Origin("data")
_NEEDED: Final = ("customer", "product", "time")
_OPTIONAL: Final = {"quantity": 1.0, "value": 0.0, "discount": 0.0}


def purchases_of_frame(
    frame: pd.DataFrame,
    number: Callable[[str], int],
    customer: Callable[[str], int] = stable_id,
) -> tuple[pd.DataFrame, dict[int, object]]:
    """Return purchases under the retailer's own labels as a table of transactions.

    Args:
        frame: Columns `customer`, `product` and `time`, and any others of the schema.
        number: The number of a product's label.
        customer: The number of a customer's label.

    Returns:
        The transactions, and the label of each customer's number.

    Raises:
        DataError: If a column is missing or unknown, or a row is wrong.
    """
    _check_columns(frame)
    plain = frame.reset_index(drop=True)
    customers = numbered(plain["customer"], "customer", customer)
    lines = pd.DataFrame(
        {
            "customer": customers,
            "product": numbered(plain["product"], "product", number),
            "time": _times(plain["time"]),
            **{name: _amounts(plain, name, value) for name, value in _OPTIONAL.items()},
            **({"rating": plain["rating"].astype("int64")} if "rating" in plain else {}),
        }
    )
    named = "basket" in plain
    lines["basket"] = numbered(plain["basket"], "basket", stable_id) if named else _visits(lines)
    check_table(lines, TRANSACTIONS, ORIGIN)
    labels = dict(zip(customers.tolist(), plain["customer"].tolist(), strict=True))
    return lines.sort_values(["time", "basket", "product"], ignore_index=True), labels


def numbered(column: pd.Series, name: str, number: Callable[[str], int]) -> pd.Series:
    """Return the numbers of labels, int64.

    Raises:
        DataError: If a label is missing.
    """
    row = first_true(column.isna())
    if row is not None:
        raise ORIGIN.error(name, row, "missing")
    known: Mapping[object, int] = {one: number(normalised(str(one))) for one in column.unique()}
    return column.map(known).astype("int64")


def _check_columns(frame: pd.DataFrame) -> None:
    for name in _NEEDED:
        if name not in frame:
            raise ORIGIN.missing(name, frame.columns)
    known = [column.name for column in TRANSACTIONS]
    for name in map(str, frame.columns):
        if name not in known:
            raise DataError(f"data: column '{name}' is unknown; known: {', '.join(known)}")


def _times(column: pd.Series) -> pd.Series:
    """Return times as datetime64[ns]; a zone is cut off, not applied."""
    if types.is_numeric_dtype(column.dtype):
        raise DataError(f"data: column 'time' holds {column.dtype}, wanted dates or times")
    times = pd.to_datetime(column, errors="coerce", format=None)
    row = first_true(times.isna())
    if row is not None:
        raise ORIGIN.error("time", row, f"{column.iloc[row]!r} is not a date or time")
    return times.dt.tz_localize(None).astype("datetime64[ns]")


def _amounts(frame: pd.DataFrame, name: str, otherwise: float) -> pd.Series | float:
    if name not in frame:
        return otherwise
    found = pd.to_numeric(frame[name], errors="coerce").astype("float64")
    row = first_true(~np.isfinite(found))
    if row is not None:
        raise ORIGIN.error(name, row, f"{frame[name].iloc[row]!r} is not a number")
    return found


def _visits(lines: pd.DataFrame) -> pd.Series:
    """Return a basket's number a customer and day, int64."""
    day = lines["time"].dt.normalize()
    return lines.groupby(["customer", day], sort=True).ngroup().astype("int64")


def customer_labels(
    settings: FilesSettings, member: str, *, apart: bool = False
) -> dict[int, object] | None:
    """Return the label of each customer's number; None where all labels are numbers.

    Args:
        settings: What is read.
        member: Whose.
        apart: Whether lines are judged apart; see `registry.load`.

    Raises:
        InputError: If a file is missing.
        DataError: If a file is damaged.
    """
    own = next(one for one in settings.members if one.name == member)
    rules = own.rules or settings.rules
    number = customer_number(rules, pepper_of(settings))
    texts = distinct_customers(own, settings, apart=apart)
    labels: dict[int, object] = {number(text): normalised(text) for text in texts}
    labels.pop(ANONYMOUS, None)
    return None if all(str(number) == text for number, text in labels.items()) else labels
