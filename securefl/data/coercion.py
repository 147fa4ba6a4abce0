"""Columns of a retailer's own file, whatever their dtypes there, as the schema's dtypes.

Every function takes the raw column and says in its error which row of which file does not convert.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from pandas.api import types

from securefl.data.schema import UNKNOWN_PRODUCT, Origin, first_true
from securefl.errors import DataError

_LARGEST = 2**63 - 1
_FLAGS: Mapping[str, bool] = {"true": True, "1": True, "false": False, "0": False}


def to_text(raw: pd.Series, column: str, origin: Origin) -> pd.Series:
    """Identifiers as text without surrounding blanks: 7, "7" and " 7" are the same one.

    Raises:
        DataError: An identifier is missing, or the column holds fractions or dates.
    """
    _refuse_missing(raw, column, origin)
    if types.is_integer_dtype(raw.dtype):
        return raw.astype("str")
    if types.is_string_dtype(raw.dtype):
        text = raw.astype("str").str.strip()
        row = first_true(text == "")
        if row is not None:
            raise origin.error(column, row, "missing")
        return text
    name = origin.names.get(column, column)
    raise DataError(f"{origin.file}: column '{name}' holds {raw.dtype}, wanted text or integers")


def stable_id(text: str) -> int:
    """Return the same int64, 0 or more, for the same text in every file and run.

    A decimal number without leading zeros stands for itself; other text for the first 63 bits of
    its BLAKE2b digest (RFC 7693).
    """
    if text.isascii() and text.isdecimal() and str(int(text)) == text and int(text) <= _LARGEST:
        return int(text)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def to_ids(raw: pd.Series, column: str, origin: Origin) -> pd.Series:
    """Return Identifiers as int64, see `stable_id`.

    Raises:
        DataError: As in `to_text`.
    """
    return _by_unique(to_text(raw, column, origin), stable_id)


def to_products(raw: pd.Series, column: str, origin: Origin, known: Mapping[str, int]) -> pd.Series:
    """Return the catalogue's numbers of products, int64, -1 for those it does not have.

    Raises:
        DataError: As in `to_text`.
    """
    text = to_text(raw, column, origin)
    return _by_unique(text, lambda label: known.get(label, UNKNOWN_PRODUCT))


def _by_unique(text: pd.Series, number: Callable[[str], int]) -> pd.Series:
    codes, unique = pd.factorize(text)
    numbers = np.array([number(label) for label in unique], dtype=np.int64)
    return pd.Series(numbers[codes], index=text.index)


def to_numbers(raw: pd.Series, column: str, origin: Origin) -> pd.Series:
    """Return numbers as float64.

    Raises:
        DataError: A number is missing or is none.
    """
    _refuse_missing(raw, column, origin)
    if types.is_bool_dtype(raw.dtype) or types.is_datetime64_any_dtype(raw.dtype):
        name = origin.names.get(column, column)
        raise DataError(f"{origin.file}: column '{name}' holds {raw.dtype}, wanted numbers")
    numbers = pd.to_numeric(raw, errors="coerce")
    _refuse_failed(raw, numbers, column, origin, "is not a number")
    return numbers.astype("float64")


def to_classes(raw: pd.Series, column: str, origin: Origin) -> pd.Series:
    """Return classes as int64.

    Raises:
        DataError: A class is missing or is no integer.
    """
    numbers = to_numbers(raw, column, origin)
    row = first_true(numbers != np.floor(numbers))
    if row is not None:
        raise origin.error(column, row, f"{numbers.iloc[row]} is not an integer")
    return numbers.astype("int64")


def to_times(raw: pd.Series, column: str, origin: Origin) -> pd.Series:
    """ISO 8601 text, dates and time stamps as naive datetime64[ns]; a zone is cut off, not applied.

    Raises:
        DataError: A time is missing or is none, or the column mixes time zones.
    """
    _refuse_missing(raw, column, origin)
    name = origin.names.get(column, column)
    if types.is_numeric_dtype(raw.dtype):
        raise DataError(f"{origin.file}: column '{name}' holds {raw.dtype}, wanted dates or times")
    try:
        times = pd.to_datetime(raw, errors="coerce", format="ISO8601")
    except ValueError as problem:
        raise DataError(f"{origin.file}: column '{name}' mixes time zones") from problem
    _refuse_failed(raw, times, column, origin, "is not a date or time (YYYY-MM-DD HH:MM:SS)")
    return times.dt.tz_localize(None).astype("datetime64[ns]")


def to_flags(raw: pd.Series, column: str, origin: Origin) -> pd.Series:
    """Return `true`, `false`, 1 and 0 as booleans.

    Raises:
        DataError: A flag is missing or is none of these.
    """
    _refuse_missing(raw, column, origin)
    flags = raw.astype("str").str.strip().str.lower().map(_FLAGS)
    _refuse_failed(raw, flags, column, origin, "is neither true nor false")
    return flags.astype("bool")


def _refuse_missing(raw: pd.Series, column: str, origin: Origin) -> None:
    row = first_true(raw.isna())
    if row is not None:
        raise origin.error(column, row, "missing")


def _refuse_failed(
    raw: pd.Series, converted: pd.Series, column: str, origin: Origin, problem: str
) -> None:
    row = first_true(converted.isna())
    if row is not None:
        raise origin.error(column, row, f"{raw.iloc[row]!r} {problem}")
