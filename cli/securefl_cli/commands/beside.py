"""What goes on beside a party's run: its live page, and its log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from securefl_cli.rendering.screen import Screen


@contextmanager
def show_page(
    port: int | None, status: Callable[[], dict[str, Any]], place: Path
) -> Iterator[None]:
    """Serve the live page within the block, where it is asked for, and say where it is."""
    if port is None:
        yield
        return
    from securefl.federation.services.page_server import serving

    with serving(port, status, place) as address:
        Screen(err=True).whole(f"The live page, for this machine alone: {address}")
        yield


def begin_log(log: Path | None, log_size: int, log_files: int) -> None:
    """Begin the log that the options ask for."""
    from securefl.federation.services.logging import log_to, log_to_file

    if log is None:
        log_to()
    else:
        log_to_file(log, log_size << 20, log_files)
