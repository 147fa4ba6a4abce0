"""The rings in which vectors are masked and summed: integers modulo 2^16, 2^24, 2^32 or 2^64.

In memory a coordinate is a word of numpy, in two's complement; on the wire it has exactly the bits
of its ring. Only 24 bits have no word of their own: they stand sign-extended in one of 32. Sums
and masks may carry into its upper eight bits, which says nothing and disturbs nothing: what is
below them is right modulo 2^24, and `pack` and `reduce` look at nothing else.
"""

from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from securefl_protocols.primitives.errors import LocalProtocolError

RingVector: TypeAlias = NDArray[np.unsignedinteger[Any]]
"""A 1-D array of the ring's dtype; what clients mask and the server sums."""

_WORD_BYTES = {16: 2, 24: 4, 32: 4, 64: 8}


class RingDtype(IntEnum):
    """How many bits a coordinate has on the wire; the value is the number of bits."""

    UINT16 = 16
    UINT24 = 24
    UINT32 = 32
    UINT64 = 64

    @property
    def dtype(self) -> np.dtype[Any]:
        """The unsigned little-endian dtype of a vector in memory."""
        return np.dtype(f"<u{_WORD_BYTES[self.value]}")

    @property
    def signed_dtype(self) -> np.dtype[Any]:
        """The signed dtype of the same word: the two's complement reading of a vector."""
        return np.dtype(f"<i{_WORD_BYTES[self.value]}")

    @property
    def wire_bytes(self) -> int:
        """Bytes of a coordinate on the wire."""
        return self.value // 8

    @property
    def largest(self) -> int:
        """The largest absolute value that a sum may have without wrapping."""
        return (1 << (self.value - 1)) - 1

    def pack(self, vector: RingVector) -> memoryview:
        """Return a vector as it travels: little-endian, with exactly the bits of the ring.

        Args:
            vector: Shape [d] in the ring's dtype, contiguous.

        Returns:
            d times `wire_bytes` bytes; where a word has no other bits, those of the vector itself.
        """
        if self.wire_bytes == vector.itemsize:
            return vector.data.cast("B")
        rows = vector.view(np.uint8).reshape(vector.size, vector.itemsize)
        packed = np.empty((vector.size, self.wire_bytes), dtype=np.uint8)
        for place in range(self.wire_bytes):  # five times as fast as a copy of rows
            packed[:, place] = rows[:, place]
        return packed.reshape(-1).data

    def unpack(self, data: bytes | memoryview) -> RingVector:
        """Read what `pack` wrote: shape [d] in the ring's dtype, read-only or a copy.

        Raises:
            LocalProtocolError: The bytes are no whole number of coordinates.
        """
        if len(data) % self.wire_bytes:
            raise LocalProtocolError(f"a coordinate has {self.wire_bytes} bytes")
        if self.wire_bytes == self.dtype.itemsize:
            return np.frombuffer(data, dtype=self.dtype)
        read = np.frombuffer(data, dtype=np.uint8).reshape(-1, self.wire_bytes)
        vector = np.zeros(len(read), dtype=self.dtype)
        rows = vector.view(np.uint8).reshape(len(read), vector.itemsize)
        for place in range(self.wire_bytes):
            rows[:, place] = read[:, place]
        return self.reduce(vector)

    def reduce(self, vector: RingVector) -> RingVector:
        """Bring a vector of the ring's dtype, in place, to the one form of its integers.

        Nothing is to be done where the word has the bits of the ring. A number of 24 bits is
        sign-extended, so that `signed_dtype` reads it.
        """
        spare = 8 * vector.itemsize - self.value
        if spare:
            signed = vector.view(self.signed_dtype)
            signed <<= spare
            signed >>= spare
        return vector
