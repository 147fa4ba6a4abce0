"""How far something long has come, and how long it may still take."""

from __future__ import annotations

import logging
import time
from typing import Final

EVERY: Final = 5.0
"""Seconds between two messages; what ends earlier says nothing."""


class Pace:
    """Says every few seconds how many lines are done, of about how many.

    Args:
        log: Where it is said.
        done: What was done with them, such as `read`.
        expected: About how many there are; 0 where nothing tells.
    """

    def __init__(self, log: logging.Logger, done: str, expected: int) -> None:
        self._log = log
        self._done = done
        self._expected = expected
        self._started = self._said = time.monotonic()
        self._lines = 0

    def __call__(self, lines: int) -> None:
        """Note that further lines are done."""
        self._lines += lines
        now = time.monotonic()
        if now - self._said < EVERY or not self._lines:
            return
        self._said = now
        left = (now - self._started) * max(self._expected / self._lines - 1.0, 0.0)
        of = f" of about {self._expected:,}" if self._expected > self._lines else ""
        eta = f", about {left:,.0f} s left" if of else ""
        self._log.info("%s %s lines%s%s", self._done, f"{self._lines:,}", of, eta)
