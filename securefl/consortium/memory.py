"""Keeping freed memory: models and vectors of the same sizes are needed in every round."""

from __future__ import annotations

import ctypes

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
