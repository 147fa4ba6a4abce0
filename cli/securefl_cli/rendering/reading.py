"""What reading own files has to say, on stderr while it lasts."""

from __future__ import annotations

import logging

from securefl_cli.rendering.screen import Screen


class _OnScreen(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        Screen(err=True).line(record.getMessage())


def show_reading() -> None:
    """Show progress, and what rules leave out, from now on; once, however often it is called."""
    log = logging.getLogger("securefl.data.sources.files")
    if not any(isinstance(handler, _OnScreen) for handler in log.handlers):
        log.addHandler(_OnScreen())
    log.setLevel(logging.INFO)
    log.propagate = False
