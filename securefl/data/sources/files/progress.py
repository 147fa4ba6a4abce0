"""How far reading has come, and how long it may still take."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from securefl.config.data import FilesSettings
from securefl.data.sources.files.locate import TableFile, table_files
from securefl.errors import InputError

_log = logging.getLogger(__name__)

EVERY: Final = 5.0
"""Seconds between two messages; what ends earlier says nothing."""

_BYTES_A_LINE: Final = 45
_PACKED: Final = 5


class Reading:
    """Says every few seconds how many lines were read, of about how many.

    Args:
        settings: What is read.
    """

    def __init__(self, settings: FilesSettings) -> None:
        self._started = self._said = time.monotonic()
        self._lines = 0
        self._expected = expected_lines(settings)

    def __call__(self, lines: int) -> None:
        """Note that further lines were read."""
        self._lines += lines
        now = time.monotonic()
        if now - self._said < EVERY:
            return
        self._said = now
        left = (now - self._started) * max(self._expected / self._lines - 1.0, 0.0)
        of = f" of about {self._expected:,}" if self._expected > self._lines else ""
        eta = f", about {left:,.0f} s left" if of else ""
        _log.info("read %s lines%s%s", f"{self._lines:,}", of, eta)


def expected_lines(settings: FilesSettings) -> int:
    """Return about how many lines the members' files have, 0 where nothing tells."""
    total = 0
    for member in settings.members:
        if member.database is None:
            total += _lines_below(settings.root / member.transactions)
    return total


def _lines_below(path: Path) -> int:
    try:
        return sum(_lines(file) for file in table_files(path))
    except InputError:
        return 0  # whoever reads the file says what is wrong with it


def _lines(file: TableFile) -> int:
    if file.kind == "parquet":
        try:
            return int(pq.read_metadata(file.path).num_rows)
        except (pa.ArrowException, OSError):
            return 0
    packed = _PACKED if file.compression or file.kind == "excel" else 1
    return packed * file.path.stat().st_size // _BYTES_A_LINE
