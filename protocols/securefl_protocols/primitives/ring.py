"""The ring in which vectors are masked and summed: integers modulo 2^32 or 2^64."""

from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

RingVector: TypeAlias = NDArray[np.unsignedinteger[Any]]
"""A 1-D array of the ring's dtype; what clients send and the server sums."""


class RingDtype(IntEnum):
    """How many bits a coordinate has on the wire; the value is the number of bits."""

    UINT32 = 32
    UINT64 = 64

    @property
    def dtype(self) -> np.dtype[Any]:
        """The unsigned little-endian dtype of a masked vector."""
        return np.dtype("<u4") if self is RingDtype.UINT32 else np.dtype("<u8")

    @property
    def signed_dtype(self) -> np.dtype[Any]:
        """The signed dtype of the same width: the two's complement reading of a sum."""
        return np.dtype("<i4") if self is RingDtype.UINT32 else np.dtype("<i8")

    @property
    def largest(self) -> int:
        """The largest absolute value that a sum may have without wrapping."""
        return (1 << (self.value - 1)) - 1
