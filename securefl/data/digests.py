"""Which data these are: a digest over a retailer's tables."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from securefl.data.paged import blocks
from securefl.data.schema import PRICES, TRANSACTIONS
from securefl.data.tables import RetailData, RetailerTables

_OWN = ("transactions", "profiles", "browsing")
_AGREED = ("products", "promotions", "prices")


@dataclass(frozen=True)
class DataDigests:
    """Which data a run reads.

    Attributes:
        agreed: Name of each agreed table to its digest, hex.
        members: Member to the same of its own tables; empty where this process reads none.
    """

    agreed: dict[str, str]
    members: dict[str, dict[str, str]]

    @classmethod
    def of(cls, data: RetailData) -> DataDigests:
        """Return the digests of all tables."""
        members = {tables.name: table_digests(tables) for tables in data.members}
        return cls(agreed_digests(data), members)

    def data_set(self, member: str) -> str:
        """Return the digest of all tables of a member; see `tables_digest`."""
        return data_set_digest(self.members[member])


def table_digests(tables: RetailerTables) -> dict[str, str]:
    """Return hexadecimal SHA-256 of each of a retailer's tables, by the table's name."""
    frames = {name: getattr(tables, name) for name in _OWN}
    return {name: frame_digest(f).hex() for name, f in frames.items() if f is not None}


def agreed_digests(data: RetailData) -> dict[str, str]:
    """Return hexadecimal SHA-256 of each table that the members agreed on, by its name.

    That of `products` covers labels, hierarchy and order, and so what the rows of a model mean.
    """
    frames = {name: getattr(data, name) for name in _AGREED}
    return {name: frame_digest(f).hex() for name, f in frames.items() if f is not None}


def tables_digest(tables: RetailerTables) -> str:
    """Return hexadecimal SHA-256 over a retailer's tables: names, types and values, row by row.

    It is the same for every task that reads these tables, and another one as soon as a row
    changes. The digest never leaves the member: who guesses the tables could check the guess.
    """
    return data_set_digest(table_digests(tables))


def data_set_digest(digests: Mapping[str, str]) -> str:
    """Return one digest over those of a member's tables; see `tables_digest`."""
    state = hashlib.sha256()
    for name in _OWN:
        state.update(bytes.fromhex(digests[name]) if name in digests else b"none")
    return state.hexdigest()


def frame_digest(frame: pd.DataFrame) -> bytes:
    """Return SHA-256 over one table, 32 bytes."""
    state = hashlib.sha256(str(frame.shape).encode())
    for name in sorted(str(column) for column in frame.columns):
        column = frame[name]
        dtype = _wide(name, column.dtype)
        state.update(f"\0{name}\0{dtype}\0".encode())
        for span in blocks(len(column)):
            state.update(_values(column.iloc[span], dtype))
    return state.digest()


_NUMBERS = frozenset(
    column.name for table in (TRANSACTIONS, PRICES) for column in table if column.kind == "number"
)


def _wide(name: str, dtype: Any) -> Any:  # noqa: ANN401 - a dtype of numpy or pandas
    """Return the type that a column's values are hashed as; the narrow one says nothing of data."""
    if not isinstance(dtype, np.dtype) or dtype.kind not in "if":
        return dtype
    return np.dtype(np.float64) if name in _NUMBERS or dtype.kind == "f" else np.dtype(np.int64)


def _values(column: pd.Series, dtype: Any) -> bytes:  # noqa: ANN401 - as in `_wide`
    if isinstance(dtype, np.dtype) and dtype.kind in "iufbmM":
        return np.ascontiguousarray(column.to_numpy(dtype)).tobytes()
    return pd.util.hash_pandas_object(column, index=False).to_numpy().tobytes()
