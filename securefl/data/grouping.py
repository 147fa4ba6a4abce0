"""Lines in parts by ascending ranges of a key, of which each fits into memory.

Whatever is computed for one customer after the other is computed part by part, with the same
result as over all lines: a part has all lines of its customers, in their order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from securefl.data.paged import BLOCK, Arrays, blank, blocks, release

Table = Mapping[str, npt.NDArray[Any]]

_SAMPLE: Final = 1 << 20
_MOST: Final = np.iinfo(np.uint16).max


def grouped(tables: Sequence[Table], key: str, size: int = BLOCK) -> Iterator[Arrays]:
    """Yield the lines of tables in parts of about `size`, ascending by ranges of a key.

    Lines of equal keys are in one part, in the order of the tables and of their lines. Tables that
    are small together are one part.

    Args:
        tables: Columns [n] each, all tables with the same names.
        key: Name of the column that decides.
        size: Lines of a part.
    """
    lines = sum(len(table[key]) for table in tables)
    if lines <= size:
        if lines:
            yield {name: _joined([table[name] for table in tables]) for name in tables[0]}
        return
    bounds = _bounds([table[key] for table in tables], lines, size)
    starts = _starts(tables, key, bounds)
    columns = _distributed(tables, key, bounds, starts)
    for begin, end in zip(starts[:-1], starts[1:], strict=True):
        if end > begin:
            yield {name: column[begin:end] for name, column in columns.items()}
            release()


def _joined(columns: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return columns[0] if len(columns) == 1 else np.concatenate(columns)


def _bounds(keys: Sequence[npt.NDArray[Any]], lines: int, size: int) -> npt.NDArray[Any]:
    """Return ascending keys, at each of which a part begins but the first."""
    step = max(lines // _SAMPLE, 1)
    sample = np.sort(
        np.concatenate([key[span][::step] for key in keys for span in blocks(len(key))])
    )
    parts = min(-(-lines // size), _MOST)
    return np.unique(sample[np.arange(1, parts) * len(sample) // parts])


def _starts(tables: Sequence[Table], key: str, bounds: npt.NDArray[Any]) -> list[int]:
    counts = np.zeros(len(bounds) + 1, dtype=np.int64)
    for table in tables:
        for span in blocks(len(table[key])):
            counts += np.bincount(_part(table[key][span], bounds), minlength=len(counts))
    return [0, *np.cumsum(counts).tolist()]


def _part(keys: npt.NDArray[Any], bounds: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    return np.searchsorted(bounds, keys, side="right").astype(np.uint16)


def _distributed(
    tables: Sequence[Table], key: str, bounds: npt.NDArray[Any], starts: list[int]
) -> Arrays:
    """Return the columns with all lines in the order of their parts."""
    kinds = {name: np.result_type(*(table[name].dtype for table in tables)) for name in tables[0]}
    columns = {name: blank(starts[-1], kind) for name, kind in kinds.items()}
    free = np.array(starts[:-1])
    for table in tables:
        for span in blocks(len(table[key])):
            part = _part(table[key][span], bounds)
            order = np.argsort(part, kind="stable")  # 16 bits: by radix, in linear time
            counts = np.bincount(part, minlength=len(free))
            for name, column in columns.items():
                _place(column, table[name][span][order], free, counts)
            free += counts
    return columns


def _place(
    column: npt.NDArray[Any],
    ordered: npt.NDArray[Any],
    free: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
) -> None:
    end = 0
    for at, count in zip(free.tolist(), counts.tolist(), strict=True):
        if count:
            column[at : at + count] = ordered[end : end + count]
            end += count
