"""Logs of coordinator and member: one JSON object a line, without secrets."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO


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
        question = getattr(record, "question", None)
        if question is not None:
            fields["question"] = str(question)
        if record.exc_info and record.exc_info[0] is not None:
            fields["error"] = record.exc_info[0].__name__
        return json.dumps(fields)


def log_to(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Write the logs of this program, and the warnings of others, to a stream."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("securefl").setLevel(level)
    # asyncio warns at every end of a TLS connection.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
