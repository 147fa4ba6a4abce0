"""What goes wrong with the broker again and again: logged at once, and then ever more rarely."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

_log = logging.getLogger(__name__)
_FIRST, _LONGEST = 10.0, 600.0
"""Seconds until one is said again; twice as many each time."""
_KEPT = 16
"""Texts that are remembered; the library's texts can hold an address or a number."""


@dataclass
class _Told:
    """When a complaint began, and when it is said again; seconds of the monotonic clock."""

    since: float
    pause: float
    again: float


class Complaints:
    """The complaints of one kind, until it is over; a connection is tried four times a second.

    Attributes:
        last: The newest one; empty without any.
    """

    def __init__(self) -> None:
        self.last = ""
        self._told: dict[str, _Told] = {}

    def say(self, text: str) -> None:
        """Log a complaint, unless it was logged lately."""
        self.last, now = text, time.monotonic()
        told = self._told.get(text)
        if told is None:
            if len(self._told) == _KEPT:
                del self._told[next(iter(self._told))]
            self._told[text] = _Told(now, _FIRST, now + _FIRST)
            _log.warning("broker: %s", text)
        elif now >= told.again:
            told.pause = min(2 * told.pause, _LONGEST)
            told.again = now + told.pause
            _log.warning("broker: %s; still so after %.0f s", text, now - told.since)

    def over(self) -> None:
        """Forget them: the next one is a new one."""
        self.last = ""
        self._told.clear()
