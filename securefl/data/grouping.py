"""Lines in parts by ascending ranges of a key, of which each fits into memory.

Whatever is computed for one customer after the other is computed part by part, with the same
result as over all lines: a part has all lines of its customers, in their order.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from securefl.data.pace import Pace
from securefl.data.paged import BLOCK, Arrays, blank, blocks, release

_log = logging.getLogger(__name__)

Table = Mapping[str, npt.NDArray[Any]]

_SAMPLE: Final = 1 << 20
_MOST: Final = np.iinfo(np.uint16).max


def grouped(
    tables: Sequence[Table], key: str, size: int = BLOCK, least: int | None = None
) -> Iterator[Arrays]:
    """Yield the lines of tables in parts of about `size`, ascending by ranges of a key.

    Lines of equal keys are in one part, in the order of the tables and of their lines. Few lines
    are one part, and none are none.

    Args:
        tables: Columns [n] each, all tables with the same names.
        key: Name of the column that decides.
        size: Lines of a part.
        least: Lines with a lower key are left out.
    """
    lines = sum(len(table[key]) for table in tables)
    bounds = _bounds([table[key] for table in tables], least, lines, size)
    starts = _starts(tables, key, bounds, least)
    columns = _distributed(tables, key, bounds, least, starts)
    pace = Pace(_log, f"prepared, by {key},", starts[-1])
    for begin, end in pairwise(starts):
        if end > begin:
            yield {name: column[begin:end] for name, column in columns.items()}
            release()
            pace(end - begin)


def _bounds(
    keys: Sequence[npt.NDArray[Any]], least: int | None, lines: int, size: int
) -> npt.NDArray[Any]:
    """Return ascending keys, at each of which a part begins but the first."""
    if lines <= size:
        return keys[0][:0]
    step = max(lines // _SAMPLE, 1)
    sample = np.concatenate([key[span][::step] for key in keys for span in blocks(len(key))])
    sample = np.sort(sample if least is None else sample[sample >= least])
    if not len(sample):
        return sample
    parts = min(-(-lines // size), _MOST)
    return np.unique(sample[np.arange(1, parts) * len(sample) // parts])


def _parted(
    table: Table, key: str, bounds: npt.NDArray[Any], least: int | None
) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[np.uint16]]]:
    """Yield lines of a table that are not left out, int64, and the part of each, for each block."""
    for span in blocks(len(table[key])):
        keys = table[key][span]
        lines = np.arange(len(keys)) if least is None else np.flatnonzero(keys >= least)
        part = np.searchsorted(bounds, keys[lines], side="right").astype(np.uint16)
        yield lines + span.start, part


def _starts(
    tables: Sequence[Table], key: str, bounds: npt.NDArray[Any], least: int | None
) -> list[int]:
    counts = np.zeros(len(bounds) + 1, dtype=np.int64)
    for table in tables:
        for _, part in _parted(table, key, bounds, least):
            counts += np.bincount(part, minlength=len(counts))
    return [0, *np.cumsum(counts).tolist()]


def _distributed(
    tables: Sequence[Table],
    key: str,
    bounds: npt.NDArray[Any],
    least: int | None,
    starts: list[int],
) -> Arrays:
    """Return the columns with all lines in the order of their parts."""
    kinds = {name: np.result_type(*(table[name].dtype for table in tables)) for name in tables[0]}
    columns = {name: blank(starts[-1], kind) for name, kind in kinds.items()}
    free = np.array(starts[:-1])
    for table in tables:
        for lines, part in _parted(table, key, bounds, least):
            order = lines[np.argsort(part, kind="stable")]  # 16 bits: by radix, in linear time
            counts = np.bincount(part, minlength=len(free))
            for name, column in columns.items():
                _place(column, table[name][order], free, counts)
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
