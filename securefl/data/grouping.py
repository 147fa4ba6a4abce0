"""Lines in parts by ascending ranges of a key, of which each fits into memory.

Whatever is computed for one customer after the other is computed part by part, with the same
result as over all lines: a part has all lines of its customers, in their order.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from securefl.data.pace import Pace
from securefl.data.paged import BLOCK, Arrays, Spool, blocks, release
from securefl.data.threads import by_threads

_log = logging.getLogger(__name__)

Table = Mapping[str, npt.NDArray[Any]]

ROUND: Final = 1 << 28
"""Lines of which a copy lies in files at a time; of more, tables are read again."""

_SAMPLE: Final = 1 << 20
_MOST: Final = np.iinfo(np.uint16).max
_TABLE: Final = 15
_WIDEST: Final = 62
_BLOCKS: Final = 128
"""Blocks up to which each is of `BLOCK` lines: a part has a piece of each, which is one read."""


def grouped(
    tables: Sequence[Table], key: str, size: int = BLOCK, least: int | None = None
) -> Iterator[Arrays]:
    """Yield the lines of tables in parts of about `size`, ascending by ranges of a key.

    Lines of equal keys are in one part, in the order of the tables and of their lines. Few lines
    are one part, and none are none. A copy of columns lies in files meanwhile, of `ROUND` lines.

    Args:
        tables: Columns [n] each, all tables with the same names.
        key: Name of the column that decides.
        size: Lines of a part.
        least: Lines with a lower key are left out.
    """
    lines = sum(len(table[key]) for table in tables)
    bounds = _Bounds.of([table[key] for table in tables], least, size)
    rounds = np.linspace(0, bounds.parts, max(-(-lines // ROUND), 1) + 1).astype(int).tolist()
    pace = Pace(_log, f"prepared, by {key},", lines)
    for parts in map(range, rounds, rounds[1:]):
        for part in _round(tables, key, bounds, parts, least):
            yield part
            pace(len(part[key]))


def _round(
    tables: Sequence[Table], key: str, bounds: _Bounds, parts: range, least: int | None
) -> Iterator[Arrays]:
    """Yield some parts, of whose lines a copy lies in files meanwhile."""
    kinds = {name: np.result_type(*(table[name].dtype for table in tables)) for name in tables[0]}
    with Spool(kinds) as spool:
        starts = [0]
        for counts, columns in _by_part(tables, key, bounds, parts, least):
            starts += (starts[-1] + np.cumsum(counts)).tolist()
            spool.append(columns)
        everything = spool.columns()
    for part in range(len(parts)):
        begins = range(part, len(starts) - 1, len(parts))
        pieces = [slice(starts[at], starts[at + 1]) for at in begins]
        if any(piece.stop > piece.start for piece in pieces):
            yield {n: np.concatenate([c[at] for at in pieces]) for n, c in everything.items()}
            release()


@dataclass(frozen=True)
class _Bounds:
    """Which part a key belongs to.

    Attributes:
        ends: Ascending keys, at each of which a part begins but the first.
        shift: Low bits of what a key is above the first end that decide nothing.
        table: The part of each value of the other bits, after that of keys below the first end;
            None where all bits decide.
    """

    ends: npt.NDArray[Any]
    shift: int = 0
    table: npt.NDArray[np.uint16] | None = None

    @property
    def parts(self) -> int:
        """Number of parts."""
        return len(self.ends) + 1

    @classmethod
    def of(cls, keys: Sequence[npt.NDArray[Any]], least: int | None, size: int) -> Self:
        """Choose bounds from a sample, so that parts are of about one size."""
        lines = sum(len(key) for key in keys)
        if lines <= size:
            return cls(keys[0][:0])
        step = max(lines // _SAMPLE, 1)
        sample = np.concatenate([key[span][::step] for key in keys for span in blocks(len(key))])
        sample = np.sort(sample if least is None else sample[sample >= least])
        if not len(sample):
            return cls(sample)
        parts = min(-(-lines // size), _MOST)
        return cls._quick(np.unique(sample[np.arange(1, parts) * len(sample) // parts]))

    @classmethod
    def _quick(cls, ends: npt.NDArray[Any]) -> Self:
        """Move bounds a little, so that a table tells the part; a search takes ten times as long.

        They stay where they are if keys are so uneven that two of them would become one.
        """
        plain = _integers(ends).tolist()
        reach = plain[-1] - plain[0]
        shift = max(reach.bit_length() - _TABLE, 0)
        coarse = [(end - plain[0]) >> shift for end in plain]
        if reach.bit_length() > _WIDEST or len(set(coarse)) < len(coarse):
            return cls(ends)
        moved = np.array([plain[0] + (end << shift) for end in coarse], dtype=np.int64)
        parts = np.searchsorted(coarse, np.arange(-1, coarse[-1] + 1), side="right")
        return cls(moved.astype(ends.dtype), shift, parts.astype(np.uint16))

    def part(self, keys: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
        """Return the part of each key, uint16 [n]."""
        if self.table is None:
            return np.searchsorted(self.ends, keys, side="right").astype(np.uint16)
        first, last = _integers(self.ends)[[0, -1]].tolist()
        above = np.clip(_integers(keys), first - 1, last).astype(np.int64) - first
        found: npt.NDArray[np.uint16] = self.table[(above >> self.shift) + 1]
        return found


def _integers(keys: npt.NDArray[Any]) -> npt.NDArray[np.signedinteger[Any]]:
    return keys.view(np.int64) if keys.dtype.kind == "M" else keys


def _by_part(
    tables: Sequence[Table], key: str, bounds: _Bounds, parts: range, least: int | None
) -> Iterator[tuple[npt.NDArray[np.int64], Arrays]]:
    """Yield the columns of each block by part, and how many lines each part has there."""

    def parted(block: tuple[Table, slice]) -> tuple[npt.NDArray[np.int64], Arrays]:
        table, span = block
        keys = table[key][span]
        part = bounds.part(keys)
        chosen = np.ones(len(keys), dtype=np.bool_) if least is None else keys >= least
        if len(parts) < bounds.parts:
            chosen &= (part >= parts.start) & (part < parts.stop)
        rows = np.flatnonzero(chosen)
        part = part[rows] - np.uint16(parts.start)
        rows = rows[np.argsort(part, kind="stable")]  # 16 bits: by radix, in linear time
        counts = np.bincount(part, minlength=len(parts))
        return counts, {name: column[span][rows] for name, column in table.items()}

    size = max(BLOCK, -(-sum(len(table[key]) for table in tables) // _BLOCKS))
    spans = ((table, span) for table in tables for span in blocks(len(table[key]), size))
    return by_threads(parted, spans)
