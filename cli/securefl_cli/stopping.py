"""Signals that ask a process to end: each ends the command as Ctrl-C does, with one line."""

from __future__ import annotations

import signal
from types import FrameType

_NAMES = ("SIGTERM", "SIGHUP")
_received: list[int] = []


def stop_on_signals() -> None:
    """Have SIGTERM and SIGHUP interrupt the command.

    A process that is the first of a container would ignore them otherwise, and elsewhere its
    workers would outlive it. One that is ignored already stays so, as `nohup` wants it.
    """
    for name in _NAMES:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    del frame
    _received.append(number)
    raise KeyboardInterrupt


def exit_code() -> int:
    """Return 128 and the number of the signal that stopped the command, as shells count."""
    return 128 + (_received[0] if _received else int(signal.SIGINT))
