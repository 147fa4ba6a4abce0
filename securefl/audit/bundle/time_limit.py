"""Time limits of audits: foreign content ends with an error, whatever is computed then."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import ClassVar, NoReturn

from securefl.errors import InputError

_AGAIN = 1.0
"""Seconds after which the end is raised once more: Python drops what is raised in a finaliser."""
_LONGEST = 1e9
"""Seconds beyond any limit, among them infinity; timers take no such number."""
_LEAST = 1e-3
"""Seconds that an enclosing timer is given whose time went by in the meantime."""


class TimeLimitError(InputError):
    """Raised if foreign content takes longer to check than its reader allows."""

    wire_name: ClassVar[str] = "TimeLimitError"


class _TimeIsOver(BaseException):
    """Ends the block. No handler of errors in a file may take it for one, so it is no exception."""


@contextmanager
def deadline(seconds: float, what: str) -> Iterator[None]:
    """End the block with an error after some seconds; within another deadline, by the earlier one.

    Size limits bound what is read and not every computation: an account of many mechanisms, each
    of its own kind, is small and dear. The limit holds in the main thread of systems with timers
    (all but Windows); elsewhere the block is not limited.

    Raises:
        TimeLimitError: If the time is over, or the limit is none.
    """
    if not 0 < seconds < _LONGEST:
        raise TimeLimitError(f"{seconds:g} seconds are no limit of time")
    left = time_left()
    if not _limited() or (left is not None and left <= seconds):
        yield
        return
    over, began = _TimeIsOver(), time.monotonic()

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise over

    before = signal.signal(signal.SIGALRM, stop)
    enclosing = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)

    def restore() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if enclosing[0]:
            rest = enclosing[0] - (time.monotonic() - began)
            signal.setitimer(signal.ITIMER_REAL, max(rest, _LEAST), enclosing[1])

    try:
        try:
            yield
        finally:
            restore()
    except _TimeIsOver as error:
        if error is not over:  # the enclosing deadline's, for it to report
            raise
        restore()  # where the end was raised a second time, before the timer was off
        late = f"{what} takes longer than {seconds:g} seconds and was ended"
        raise TimeLimitError(late) from None


def time_left() -> float | None:
    """Return the seconds until the enclosing deadline; None without one."""
    return (signal.getitimer(signal.ITIMER_REAL)[0] or None) if _limited() else None


def _limited() -> bool:
    main = threading.current_thread() is threading.main_thread()
    return main and hasattr(signal, "setitimer")
