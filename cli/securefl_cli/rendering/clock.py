"""The remaining time, as text."""

from __future__ import annotations

import time


class RemainingTime:
    """An estimate from the rounds that this process has done."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._done = 0

    def after(self, left: int) -> float:
        """Count one more round, and return the estimated seconds of the `left` ones."""
        self._done += 1
        return (time.monotonic() - self._started) / self._done * left


def clock(seconds: float) -> str:
    """Return seconds as m:ss, or h:mm:ss from an hour on."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
