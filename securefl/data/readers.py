"""Columns of the Parquet files of a package, or one clear line on why there are none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from securefl.data.schema import Origin
from securefl.errors import DataError, InputError


def read_columns(file: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Return the named columns of a Parquet file in their dtypes.

    Raises:
        InputError: The file is missing or may not be read.
        DataError: The file is damaged, or has no such column.
    """
    present = column_names(file)
    for column in columns:
        if column not in present:
            raise Origin(str(file)).missing(column, present)
    try:
        frame: pd.DataFrame = pq.read_table(
            file, columns=list(columns), memory_map=False
        ).to_pandas()
    except (pa.ArrowException, OSError) as problem:
        raise _unreadable(file, problem) from problem
    return frame


def column_names(file: Path) -> tuple[str, ...]:
    """Return the file's column names, without reading its rows.

    Raises:
        InputError: The file is missing or may not be read.
        DataError: The file is damaged.
    """
    try:
        return tuple(pq.read_schema(file).names)
    except (pa.ArrowException, OSError) as problem:
        raise _unreadable(file, problem) from problem


def _unreadable(file: Path, problem: Exception) -> InputError:
    if isinstance(problem, FileNotFoundError):
        return InputError(f"{file}: no such file")
    if isinstance(problem, PermissionError):
        return InputError(f"{file}: may not be read")
    return DataError(f"{file}: cannot be read: {' '.join(str(problem).split())}")
