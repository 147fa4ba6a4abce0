"""What the tables must look like, checked once on load: afterwards nobody checks again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types
from pandas.api.extensions import ExtensionDtype

from securefl.data.paged import blocks
from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import DataError

UNKNOWN_PRODUCT: Final = -1
"""The catalogue's out-of-vocabulary row: whatever a retailer sells that the others do not know."""

ANONYMOUS: Final = -1
"""The customer of a sale that nobody is known to have made."""

PLAIN_EVENT: Final = "view"
"""What happened where a table of browsing does not say: a product was looked at."""

LEVELS: Final = ("department", "category", "kind", "brand", "size")
"""The catalogue's text columns, coarse to fine."""

Kind = Literal["id", "number", "time", "text", "flag"]


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: The column's name in the schema.
        kind: `id` int64, `number` finite int or float, `time` naive datetime64, `text` strings,
            `flag` booleans. No kind may be missing in a row.
        least: The least value allowed, for ids and numbers.
        above: The bound that values must exceed, for numbers.
        optional: Whether a table without the column is complete.
    """

    name: str
    kind: Kind
    least: float | None = None
    above: float | None = None
    optional: bool = False


TRANSACTIONS: Final = (
    Column("customer", "id", least=ANONYMOUS),
    Column("product", "id", least=UNKNOWN_PRODUCT),
    Column("basket", "id"),
    Column("time", "time"),
    Column("quantity", "number", above=0.0),
    Column("value", "number", least=0.0),
    Column("discount", "number", least=0.0),
    Column("rating", "id", least=0, optional=True),
)
PRODUCTS: Final = (
    Column("product", "id", least=UNKNOWN_PRODUCT),
    *(Column(level, "text") for level in LEVELS),
)
PROFILES: Final = (Column("customer", "id", least=ANONYMOUS),)
BROWSING: Final = (
    Column("customer", "id", least=ANONYMOUS),
    Column("product", "id", least=UNKNOWN_PRODUCT),
    Column("time", "time"),
    Column("event", "text", optional=True),
)
PROMOTIONS: Final = (
    Column("member", "text"),
    Column("product", "id", least=UNKNOWN_PRODUCT),
    Column("week", "time"),
    Column("display", "flag"),
    Column("mailer", "flag"),
)
PRICES: Final = (
    Column("member", "text"),
    Column("product", "id", least=UNKNOWN_PRODUCT),
    Column("week", "time"),
    Column("price", "number", above=0.0),
)

_DTYPES: Final[Mapping[Kind, str]] = {
    "id": "int64",
    "number": "float64",
    "time": "datetime64",
    "text": "str",
    "flag": "bool",
}


@dataclass(frozen=True)
class Origin:
    """Where a table came from, so that an error can say what to mend.

    Attributes:
        file: The file, or a name for a table that is in no file.
        names: What the schema's columns are called in the file, where that differs.
    """

    file: str
    names: Mapping[str, str] = field(default_factory=dict)

    def error(self, column: str, row: int, problem: str) -> DataError:
        """The error for the 0-based `row` of the schema's `column`; it counts rows from 1."""
        return DataError(
            f"{self.file}: row {row + 1}, column '{self.names.get(column, column)}': {problem}"
        )

    def missing(self, column: str, present: Iterable[object]) -> DataError:
        """Return the error for a column that is not there; it names the nearest one that is."""
        name = self.names.get(column, column)
        alike = {str(other).casefold(): str(other) for other in present}
        near = get_close_matches(name.casefold(), alike, n=1, cutoff=0.5)
        hint = f"; the nearest is '{alike[near[0]]}'" if near else ""
        return DataError(f"{self.file}: no column '{name}'{hint}")


def check_table(frame: pd.DataFrame, columns: Sequence[Column], origin: Origin) -> None:
    """Check names, dtypes and values of a table; further columns are allowed.

    Raises:
        DataError: At the first column, and in it the first row, that is wrong.
    """
    check_columns(frame, columns, origin)
    for column in columns:
        if column.name in frame.columns:
            _check_values(frame[column.name], column, origin)


def check_columns(frame: pd.DataFrame, columns: Sequence[Column], origin: Origin) -> None:
    """Check the names and dtypes of a table alone.

    Raises:
        DataError: At the first column that is missing or holds another dtype.
    """
    for column in columns:
        if column.name in frame.columns:
            _check_dtype(frame[column.name], column, origin)
        elif not column.optional:
            raise origin.missing(column.name, frame.columns)


def _check_dtype(values: pd.Series, column: Column, origin: Origin) -> None:
    fits = {
        "id": types.is_integer_dtype,
        "number": _is_number,
        "time": types.is_datetime64_dtype,
        "text": types.is_string_dtype,
        "flag": types.is_bool_dtype,
    }[column.kind]
    if not fits(values.dtype):
        name = origin.names.get(column.name, column.name)
        wanted = _DTYPES[column.kind]
        raise DataError(f"{origin.file}: column '{name}' holds {values.dtype}, wanted {wanted}")


def _is_number(dtype: np.dtype[Any] | ExtensionDtype) -> bool:
    return bool(types.is_numeric_dtype(dtype) and not types.is_bool_dtype(dtype))


def _check_values(values: pd.Series, column: Column, origin: Origin) -> None:
    for span in blocks(len(values)):
        _check_block(values.iloc[span], span.start, column, origin)


def _check_block(values: pd.Series, start: int, column: Column, origin: Origin) -> None:
    """Check some rows; a comparison of all at once would need as much memory as the column."""
    if _in_bounds(values, column):
        return

    def refuse(wrong: pd.Series, problem: str) -> None:
        row = first_true(wrong)
        if row is not None:
            raise origin.error(column.name, start + row, problem.format(values.iloc[row]))

    refuse(values.isna(), "missing")
    if column.kind == "number":
        refuse(~np.isfinite(values), "{} is not finite")
    if column.above is not None:
        refuse(values <= column.above, f"{{}} is not above {column.above:g}")
    if column.least is not None:
        refuse(values < column.least, f"{{}} is below {column.least:g}")


def _in_bounds(values: pd.Series, column: Column) -> bool:
    """Return whether the least and the greatest value already show that no row is wrong."""
    array = values.to_numpy() if isinstance(values.dtype, np.dtype) else np.empty(0)
    if not len(array) or array.dtype.kind not in "iufM":
        return False
    if array.dtype.kind == "M":
        # NaT is the least int64.
        return bool(array.view(np.int64).min() > np.iinfo(np.int64).min)
    # One NaN makes both ends NaN, which no comparison holds for.
    least, most = array.min(), array.max()
    return bool(
        (column.kind != "number" or (-np.inf < least and most < np.inf))
        and (column.above is None or least > column.above)
        and (column.least is None or least >= column.least)
    )


def first_true(mask: pd.Series | npt.NDArray[np.bool_]) -> int | None:
    """Return position of the first true value of a boolean [n], None where there is none."""
    array = np.asarray(mask, dtype=bool)
    return int(array.argmax()) if array.any() else None


def check_distinct(frame: pd.DataFrame, column: str, origin: Origin) -> None:
    """Check that no value of `column` occurs in two rows.

    Raises:
        DataError: At the first row that repeats an earlier one.
    """
    row = first_true(frame[column].duplicated())
    if row is not None:
        raise origin.error(column, row, f"{frame[column].iloc[row]} occurs twice")


def check_data(data: RetailData, *, may_be_empty: bool = False) -> None:
    """Check all tables of a source and what they say of each other.

    Args:
        data: The tables.
        may_be_empty: Whether a retailer may have no transactions.

    Raises:
        DataError: A table breaks the schema, a retailer has no transactions, a name or a product
            occurs twice, or a product is sold that the catalogue does not have.
    """
    if not data.members:
        raise DataError(f"{data.source}: no retailers")
    names = [member.name for member in data.members]
    if len(set(names)) < len(names):
        raise DataError(f"{data.source}: two retailers have the same name")
    catalogue = Origin(f"{data.source}: catalogue")
    check_table(data.products, PRODUCTS, catalogue)
    check_distinct(data.products, "product", catalogue)
    for member in data.members:
        if member.transactions.empty and not may_be_empty:
            raise DataError(f"{data.source}: {member.name}: no transactions")
        _check_member(member, data)
    if data.promotions is not None:
        check_table(data.promotions, PROMOTIONS, Origin(f"{data.source}: promotions"))
    if data.prices is not None:
        check_table(data.prices, PRICES, Origin(f"{data.source}: prices"))


def _check_member(member: RetailerTables, data: RetailData) -> None:
    origin = Origin(f"{data.source}: {member.name}")
    check_table(member.transactions, TRANSACTIONS, origin)
    row = _first_unlisted(member.transactions["product"], data.products["product"])
    if row is not None:
        raise origin.error("product", row, "not in the catalogue")
    if member.profiles is not None:
        profiles = Origin(f"{origin.file}: profiles")
        check_table(member.profiles, PROFILES, profiles)
        check_distinct(member.profiles, "customer", profiles)
    if member.browsing is not None:
        check_table(member.browsing, BROWSING, Origin(f"{origin.file}: browsing"))


def _first_unlisted(products: pd.Series, listed: pd.Series) -> int | None:
    """Return the first row whose product is none of those listed, which are distinct."""
    least, most = (listed.min(), listed.max()) if len(listed) else (0, -1)
    without_gaps = most - least + 1 == len(listed)
    for span in blocks(len(products)):
        block = products.iloc[span]
        if without_gaps and least <= block.min() and block.max() <= most:
            continue
        row = first_true(~block.isin(listed))
        if row is not None:
            return int(span.start) + row
    return None
