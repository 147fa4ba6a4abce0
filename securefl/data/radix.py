"""The order of integers by radix: linear in time, where numpy's own is only for 16 bits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_BITS: Final = 16


def stable_order(*keys: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the order by several keys, as `numpy.lexsort` does, int64 [n].

    The last key decides first, and what is equal stays as it is. Time is linear in the bits that
    the values of a key span.

    Args:
        keys: Integers or times [n] each, one key at least.
    """
    order: npt.NDArray[np.int64] | None = None
    for key in keys:
        for digit in _digits(key):
            if order is None:
                order = np.argsort(digit, kind="stable")
            else:
                order = order[np.argsort(digit[order], kind="stable")]
    assert order is not None
    return order


def _digits(key: npt.NDArray[Any]) -> Iterator[npt.NDArray[np.uint16]]:
    """Yield the 16-bit digits of what values are above their least, the lowest first."""
    if not len(key):
        yield np.zeros(0, dtype=np.uint16)
        return
    # Differences of two int64 wrap around, and are right without a sign.
    values = key.astype(np.int64).view(np.uint64)
    above = values - values[key.argmin()]
    largest = int(above.max())
    while True:
        yield above.astype(np.uint16)  # the low bits
        largest >>= _BITS
        if not largest:
            return
        above >>= np.uint64(_BITS)
