"""Logs of coordinator and member: one JSON object a line, without secrets."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final, TextIO

from securefl.errors import RunDirectoryError

LOG_MEBIBYTES: Final = 10
LOG_FILES: Final = 5
_OWN: Final = "securefl.log"
_LINE_BEGINS: Final = b'{"time": "'


class JsonLines(logging.Formatter):
    """A formatter of JSON lines; of an exception only the class, as its text may hold data."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        moment = datetime.fromtimestamp(record.created, UTC)
        fields = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "from": record.name,
            "says": record.getMessage(),
        }
        for name in ("question", "fault"):
            value = getattr(record, name, None)
            if value is not None:
                fields[name] = str(value)
        if record.exc_info and record.exc_info[0] is not None:
            fields["error"] = record.exc_info[0].__name__
        return json.dumps(fields)


class _Lossy(logging.Handler):
    """Counts lines that cannot be written, and says how many once one can be again.

    A full disk must neither end the run by its log nor fill what is left with tracebacks.
    """

    _lost = 0

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - as in the library
        """Count a line that cannot be written."""
        del record
        self._lost += 1

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; after one that could be written, how many could not before it."""
        before = self._lost
        super().emit(record)
        if before and self._lost == before:
            self._lost = 0
            text = f"{before} lines of this log could not be written, and may be missing"
            super().emit(logging.LogRecord(_OWN, logging.WARNING, "", 0, text, None, None))


class LossyStream(_Lossy, logging.StreamHandler[TextIO]):
    """A stream of log lines."""


class RotatedFile(_Lossy, RotatingFileHandler):
    """A log file of bounded size, readable by its owner alone, and a bounded number of older ones.

    Each file begins with a line that says how long it is kept.

    Args:
        path: The file; older ones are beside it, with `.1`, `.2` and so on.
        most_bytes: Bytes after which it is replaced by a new one.
        files: How many older ones are kept.
    """

    def __init__(self, path: Path, most_bytes: int, files: int) -> None:
        super().__init__(path, maxBytes=most_bytes, backupCount=files, encoding="utf-8")
        self.setFormatter(JsonLines())
        self._begin()

    def _open(self) -> TextIOWrapper:
        def private(name: str, flags: int) -> int:
            number = os.open(name, flags, 0o600)
            os.fchmod(number, 0o600)
            return number

        return open(self.baseFilename, "a", encoding="utf-8", opener=private)

    def doRollover(self) -> None:  # noqa: N802 - the name in the library
        """Replace the file by a new one, and delete the oldest."""
        super().doRollover()
        self._begin()

    def _begin(self) -> None:
        text = (
            f"this file is replaced at {self.maxBytes} bytes; {self.backupCount} older ones are"
            " kept, and the oldest is deleted then"
        )
        record = logging.LogRecord(_OWN, logging.INFO, "", 0, text, None, None)
        assert self.stream is not None
        self.stream.write(self.format(record) + self.terminator)
        self.stream.flush()


def log_to(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Write the logs of this program, and the warnings of others, to a stream."""
    handler = LossyStream(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    _log_by(handler, level)


def log_to_file(path: Path, most_bytes: int, files: int, level: int = logging.INFO) -> None:
    """Write them to a file that is rotated; see `RotatedFile`.

    Raises:
        RunDirectoryError: If the file cannot be written, or is no log.
    """
    try:
        _check_log(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = RotatedFile(path, most_bytes, files)
    except OSError as error:
        raise RunDirectoryError(f"the log {path} cannot be written: {error.strerror}") from None
    _log_by(handler, level)


def _check_log(path: Path) -> None:
    """Refuse to write log lines at the end of a user's other file, and to rotate it away."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        beginning = file.read(len(_LINE_BEGINS))
    if beginning not in {b"", _LINE_BEGINS}:
        raise RunDirectoryError(f"{path} exists and is no log; name another file")


def _log_by(handler: logging.Handler, level: int) -> None:
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("securefl").setLevel(level)
    # asyncio warns at every end of a TLS connection.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
