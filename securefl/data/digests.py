"""Which data these are: a digest over a retailer's tables."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from securefl.data.tables import RetailerTables


def tables_digest(tables: RetailerTables) -> str:
    """Return hexadecimal SHA-256 over a retailer's tables: names, types and values, row by row.

    It is the same for every task that reads these tables, and another one as soon as a row
    changes; a member whose tables grow names its data set in its policy. The digest never leaves
    the member: who guesses the tables could check the guess.
    """
    state = hashlib.sha256()
    for frame in (tables.transactions, tables.profiles, tables.browsing):
        state.update(b"none" if frame is None else frame_digest(frame))
    return state.hexdigest()


def frame_digest(frame: pd.DataFrame) -> bytes:
    """Return SHA-256 over one table, 32 bytes."""
    state = hashlib.sha256(str(frame.shape).encode())
    for name in sorted(str(column) for column in frame.columns):
        column = frame[name]
        state.update(f"\0{name}\0{column.dtype}\0".encode())
        state.update(_values(column))
    return state.digest()


def _values(column: pd.Series) -> bytes:
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iufbmM":
        return np.ascontiguousarray(column.to_numpy()).tobytes()
    return pd.util.hash_pandas_object(column, index=False).to_numpy().tobytes()
