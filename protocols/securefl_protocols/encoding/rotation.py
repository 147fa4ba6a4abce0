"""A public random rotation that makes all coordinates of a vector about equally large.

The randomised Walsh-Hadamard transform (Ailon and Chazelle 2006): random signs, then the Hadamard
matrix, over the next power of two of coordinates. It keeps norms, so that it costs no privacy; a
flat vector needs a smaller range of integers. The signs come from a seed that everybody knows.
"""

import math

import numpy as np
from numpy.typing import NDArray

from securefl_protocols.noise.words import UniformWords
from securefl_protocols.primitives.errors import LocalProtocolError

_LARGEST_DIMENSION = 1 << 28


class Rotation:
    """The rotation of vectors of one dimension by one seed.

    Args:
        dimension: d.
        seed: 32 bytes, public, agreed by the members.

    Raises:
        LocalProtocolError: The dimension is out of range or the seed of another length.
    """

    def __init__(self, dimension: int, seed: bytes) -> None:
        if not 1 <= dimension <= _LARGEST_DIMENSION:
            raise LocalProtocolError("a rotated vector has between 1 and 2^28 coordinates")
        self.dimension = dimension
        self.padded = 1 << (dimension - 1).bit_length()
        words = np.empty(-(-self.padded // 64), dtype=np.int64)
        UniformWords(seed).fill(words)
        bits = np.unpackbits(words.view(np.uint8), bitorder="little")[: self.padded]
        self._signs = (1 - 2 * bits.astype(np.int8)).astype(np.int8)

    def forward(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rotate.

        Args:
            vector: Shape [d], float64.

        Returns:
            Shape [padded], float64, of the same norm.

        Raises:
            LocalProtocolError: The vector is of another shape.
        """
        if vector.shape != (self.dimension,):
            raise LocalProtocolError(f"a vector of {self.dimension} coordinates is rotated")
        padded = np.zeros(self.padded)
        padded[: self.dimension] = vector
        padded *= self._signs
        return _hadamard(padded)

    def inverse(self, rotated: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rotate back.

        Args:
            rotated: Shape [padded], float64.

        Returns:
            Shape [d], float64.

        Raises:
            LocalProtocolError: The vector is of another shape.
        """
        if rotated.shape != (self.padded,):
            raise LocalProtocolError(f"a rotated vector has {self.padded} coordinates")
        return (_hadamard(rotated.copy()) * self._signs)[: self.dimension]


def _hadamard(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Overwrite a vector of 2^b coordinates with its orthonormal Walsh-Hadamard transform."""
    half = 1
    while half < vector.size:
        pairs = vector.reshape(-1, 2, half)
        difference = pairs[:, 0] - pairs[:, 1]
        pairs[:, 0] += pairs[:, 1]
        pairs[:, 1] = difference
        half *= 2
    vector /= math.sqrt(vector.size)
    return vector
