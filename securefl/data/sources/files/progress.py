"""How many lines a member's files may have, and how far reading them has come."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from securefl.config.data import FilesSettings
from securefl.data.pace import Pace
from securefl.data.sources.files.locate import TableFile, table_files
from securefl.errors import InputError

_log = logging.getLogger(__name__)

_BYTES_A_LINE: Final = 45
_PACKED: Final = 5


class Reading(Pace):
    """Says every few seconds how many lines were read, of about how many.

    Args:
        settings: What is read.
    """

    def __init__(self, settings: FilesSettings) -> None:
        super().__init__(_log, "read", expected_lines(settings))


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
