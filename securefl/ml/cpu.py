"""How many cores this process may use."""

from __future__ import annotations

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_KEPT_BYTES = 1 << 30


def keep_freed_memory() -> None:
    """Let a process reuse what it freed, up to 1 GiB, instead of handing it back each time.

    glibc maps each large array anew and has the kernel fill it with zeros, which for models of ten
    million parameters takes as long as all the rest of a round. Where the C library is another one,
    nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_ARENA_MAX, 1)
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)


def cores() -> int:
    """Those that it may run on where the system says so, else all there are; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
