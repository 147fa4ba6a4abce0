"""The columns of queries, from a retailer's purchases: one record a line, basket or customer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from securefl.data.digests import frame_digest
from securefl.data.schema import ANONYMOUS, UNKNOWN_PRODUCT

IntVector = npt.NDArray[np.int64]
DoubleVector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Number:
    """A column of numbers.

    Attributes:
        record: The kind of its records.
        low: Lower end of its default range; a public constant, which depends on no data.
        high: Upper end of its default range.
        text: Description of the values.
        read: Returns customers and values, one row a record, from transactions.
        single: Whether a customer has only one record.
    """

    record: str
    low: float
    high: float
    text: str
    read: Callable[[pd.DataFrame], pd.DataFrame]
    single: bool = False


@dataclass(frozen=True)
class Numbers:
    """Records of numbers.

    Attributes:
        customer: The record's customer, int64 [n].
        value: The number, float64 [n].
    """

    customer: IntVector
    value: DoubleVector


@dataclass(frozen=True)
class Names:
    """Records of names.

    Attributes:
        customer: The record's customer, int64 [n].
        position: Index of the name in the column's public list, int64 [n].
    """

    customer: IntVector
    position: IntVector


def _line(column: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def read(lines: pd.DataFrame) -> pd.DataFrame:
        return lines[["customer", column]].set_axis(["customer", "value"], axis=1)

    return read


def _price(lines: pd.DataFrame) -> pd.DataFrame:
    price = lines["value"] / lines["quantity"]
    return pd.DataFrame({"customer": lines["customer"], "value": price})


def _basket_value(lines: pd.DataFrame) -> pd.DataFrame:
    return lines.groupby(["customer", "basket"])["value"].sum().reset_index()


def _basket_size(lines: pd.DataFrame) -> pd.DataFrame:
    return lines.groupby(["customer", "basket"]).size().reset_index(name="value")


def _spend(lines: pd.DataFrame) -> pd.DataFrame:
    return lines.groupby("customer")["value"].sum().reset_index()


NUMBERS = {
    "value": Number("purchase line", 0.0, 20.0, "what was paid for a line", _line("value")),
    "price": Number("purchase line", 0.0, 20.0, "what was paid for one unit of a line", _price),
    "quantity": Number("purchase line", 0.0, 20.0, "units of a line", _line("quantity")),
    "discount": Number("purchase line", 0.0, 10.0, "taken off a line", _line("discount")),
    "basket-value": Number("basket", 0.0, 200.0, "what was paid for a basket", _basket_value),
    "basket-size": Number("basket", 0.0, 100.0, "lines of a basket", _basket_size),
    "spend": Number("customer", 0.0, 5000.0, "what a customer paid in all", _spend, single=True),
}
TEXTS = {
    "product": "product number of the agreed catalogue",
    "category": "category in the catalogue",
    "department": "department in the catalogue",
    "kind": "kind of product in the catalogue",
    "brand": "brand in the catalogue",
}
COLUMNS = (*NUMBERS, *TEXTS)


class Catalogue:
    """The agreed catalogue, the only source of names: which products were sold is secret.

    Args:
        products: One row a product.
    """

    def __init__(self, products: pd.DataFrame) -> None:
        self.products = products
        self._known = products[products["product"] != UNKNOWN_PRODUCT]
        self._names: dict[str, pd.Index] = {}

    @cached_property
    def digest(self) -> bytes:
        """The digest of all of it, 32 bytes."""
        return frame_digest(self.products)

    def names(self, column: str) -> tuple[str, ...]:
        """Return all names of a column of `TEXTS`, in the order of an answer."""
        return tuple(str(name) for name in self._sorted(column))

    def about(self, product: str) -> str:
        """Return the kind of a product by its number."""
        kind = self._known.loc[self._known["product"] == int(product), "kind"]
        return str(kind.iloc[0])

    def count(self, column: str) -> int:
        """Return the number of names of a column of `TEXTS`."""
        return len(self._sorted(column))

    def records(self, lines: pd.DataFrame, column: str) -> Names:
        """Return one record for each purchase line of a known product by a known customer.

        Args:
            lines: A retailer's transactions.
            column: A column of `TEXTS`.
        """
        kept = lines[(lines["customer"] != ANONYMOUS) & (lines["product"] != UNKNOWN_PRODUCT)]
        places = self._sorted(column).get_indexer(pd.Index(self._known[column]))
        row = pd.Index(self._known["product"]).get_indexer(pd.Index(kept["product"]))
        return Names(kept["customer"].to_numpy(np.int64), places.astype(np.int64)[row])

    def _sorted(self, column: str) -> pd.Index:
        if column not in self._names:
            self._names[column] = pd.Index(np.sort(self._known[column].unique()))
        return self._names[column]


def number_records(lines: pd.DataFrame, column: str) -> Numbers:
    """Return the records of a column of numbers of known customers; what is no number is left out.

    Args:
        lines: A retailer's transactions.
        column: A column of `NUMBERS`.
    """
    # An anonymous line belongs to no customer whose contribution could be bounded.
    kept = lines[lines["customer"] != ANONYMOUS]
    records = NUMBERS[column].read(kept).dropna()
    return Numbers(records["customer"].to_numpy(np.int64), records["value"].to_numpy(np.float64))
