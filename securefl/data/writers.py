"""Tables written piece by piece: as CSV, Parquet or JSON lines, whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from securefl.errors import InputError
from securefl.untrusted.files import check_new

WRITTEN: Final = (".csv", ".parquet", ".jsonl")
Write = Callable[[pd.DataFrame], None]


def check_table(path: Path) -> None:
    """Refuse a file that cannot be made anew, or whose name does not say how it is written.

    Raises:
        InputError: If it is such a one.
    """
    if path.suffix not in WRITTEN:
        raise InputError(f"{path}: neither {', '.join(WRITTEN[:-1])} nor {WRITTEN[-1]}")
    check_new(path)


@contextlib.contextmanager
def new_table(path: Path) -> Iterator[Write]:
    """Yield a function that writes the next rows of a new file; it appears once all are written.

    Args:
        path: The file; its ending decides on the format.

    Raises:
        InputError: If it exists, or cannot be written.
    """
    check_table(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with beside.open("xb") as file:
            yield from _rows(path.suffix, file)
            file.flush()
            os.fsync(file.fileno())
        # A link, and not a rename: it fails where the name has been taken meanwhile.
        os.link(beside, path)
    except FileExistsError:
        raise InputError(f"{path} exists; nothing was written") from None
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)


def _rows(suffix: str, file: BinaryIO) -> Iterator[Write]:
    """Yield the function that writes rows in the format of a suffix, and end the file after it."""
    if suffix == ".parquet":
        yield from _parquet_rows(file)
        return
    first = True

    def text(frame: pd.DataFrame) -> None:
        nonlocal first
        if suffix == ".csv":
            file.write(frame.to_csv(index=False, header=first, lineterminator="\n").encode())
        else:
            plain = frame.assign(**{name: _days(frame[name]) for name in _dates(frame)})
            file.write(plain.to_json(orient="records", lines=True, double_precision=15).encode())
        first = False

    yield text


def _parquet_rows(file: BinaryIO) -> Iterator[Write]:
    writer: pq.ParquetWriter | None = None

    def rows(frame: pd.DataFrame) -> None:
        nonlocal writer
        table = pa.Table.from_pandas(frame, preserve_index=False)
        writer = writer or pq.ParquetWriter(file, table.schema)
        writer.write_table(table.cast(writer.schema))

    yield rows
    if writer is not None:
        writer.close()


def _dates(frame: pd.DataFrame) -> list[str]:
    return [str(name) for name in frame.select_dtypes("datetime").columns]


def _days(column: pd.Series) -> pd.Series:
    """Return dates as ISO 8601 text."""
    text: pd.Series = column.dt.strftime("%Y-%m-%d")
    return text
