"""Raw columns of a file, or one clear line on why there are none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from securefl.data.schema import Origin
from securefl.errors import DataError, InputError
from securefl.untrusted.files import check_regular

SUFFIXES = (".csv", ".parquet")


def table_files(path: Path) -> tuple[Path, ...]:
    """Return the file itself, or the folder's CSV and Parquet files in the order of their names.

    Raises:
        InputError: There is nothing at `path`, no such file in it, or a file of another type.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file")
    files: tuple[Path, ...] = (path,)
    if path.is_dir():
        files = tuple(sorted(file for file in path.iterdir() if file.suffix in SUFFIXES))
    if not files:
        raise InputError(f"{path}: no CSV or Parquet file in this folder")
    for file in files:
        if file.suffix not in SUFFIXES:
            raise InputError(f"{file}: neither .csv nor .parquet")
        check_regular(file)
    return files


def read_columns(file: Path, columns: Sequence[str]) -> pd.DataFrame:
    """The named columns of a CSV file, all of them text, or of a Parquet file in their dtypes.

    Raises:
        InputError: The file is missing or may not be read.
        DataError: The file is damaged, or has no such column.
    """
    present = column_names(file)
    for column in columns:
        if column not in present:
            raise Origin(str(file)).missing(column, present)
    try:
        table = _read_csv(file, columns) if file.suffix == ".csv" else _read_parquet(file, columns)
        frame: pd.DataFrame = table.to_pandas()
    except (pa.ArrowException, OSError) as problem:
        raise _unreadable(file, problem) from problem
    return frame


def column_names(file: Path) -> tuple[str, ...]:
    """Return the file's column names, without reading its rows.

    Raises:
        InputError: The file is missing or may not be read.
        DataError: The file is damaged or has two columns of one name.
    """
    try:
        names = _csv_header(file) if file.suffix == ".csv" else pq.read_schema(file).names
    except (pa.ArrowException, OSError) as problem:
        raise _unreadable(file, problem) from problem
    twice = _first_repeated(names)
    if twice is not None:
        raise DataError(f"{file}: two columns are called '{twice}'")
    return tuple(names)


def _csv_header(file: Path) -> list[str]:
    with pyarrow.csv.open_csv(file) as reader:
        names: list[str] = reader.schema.names
    return names


def _first_repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _read_csv(file: Path, columns: Sequence[str]) -> pa.Table:
    convert = pyarrow.csv.ConvertOptions(
        include_columns=list(columns),
        column_types=dict.fromkeys(columns, pa.string()),
        strings_can_be_null=True,
        null_values=[""],
    )
    return pyarrow.csv.read_csv(file, convert_options=convert)


def _read_parquet(file: Path, columns: Sequence[str]) -> pa.Table:
    return pq.read_table(file, columns=list(columns), memory_map=False)


def _unreadable(file: Path, problem: Exception) -> InputError:
    if isinstance(problem, FileNotFoundError):
        return InputError(f"{file}: no such file")
    if isinstance(problem, PermissionError):
        return InputError(f"{file}: may not be read")
    return DataError(f"{file}: cannot be read: {' '.join(str(problem).split())}")
