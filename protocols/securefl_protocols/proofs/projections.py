"""Random projections: short integer vectors whose length says how long the input is.

A coordinate of a projection is `<a, x>` with entries of a from -4 to 4: the ones among eight random
bits, less four. Its variance is twice the squared length of x, and its tails are no heavier than
those of the normal law. All is integers, so that every party computes the same.
"""

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from securefl_protocols.primitives.ring import RingVector

PROJECTIONS = 256
"""k: a vector three times too long passes with probability below 2^-128; see `norm_terms`."""
VARIANCE = 2
"""Of an entry: that of the ones among eight bits."""

_HALF = 4
_ROWS = 16
_LIMB_BITS = 20


def projected(key: bytes, vector: NDArray[np.signedinteger]) -> list[int]:
    """Return the projections of signed integers, exact.

    Args:
        key: 32 bytes, known to no party before the vector was fixed. Row t has the bytes t d to
            (t + 1) d - 1 of its AES-256-CTR keystream.
        vector: Shape [d].
    """
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    limbs, size = _limbs(vector), vector.size
    found: list[int] = []
    for _ in range(0, PROJECTIONS, _ROWS):
        drawn = np.frombuffer(stream.update(bytes(_ROWS * size)), np.uint8).reshape(_ROWS, size)
        entries = np.bitwise_count(drawn).astype(np.float64) - _HALF
        rows = (entries @ limbs).astype(np.int64).tolist()
        found += [sum(part << _LIMB_BITS * at for at, part in enumerate(parts)) for parts in rows]
    return found


def signed_integers(vector: RingVector) -> NDArray[np.signedinteger]:
    """Return the elements of a ring as signed integers."""
    return vector.view(np.dtype(f"i{vector.itemsize}"))


def _limbs(vector: NDArray[np.signedinteger]) -> NDArray[np.float64]:
    """Cut integers into limbs of 20 bits, the last of them signed, shape [d, limbs].

    4 * 2^20 * 2^28 is below 2^53, so that sums of float64 are exact, in whatever order.
    """
    wide, count = vector.astype(np.int64), -(-8 * vector.itemsize // _LIMB_BITS)
    parts = [(wide >> _LIMB_BITS * place) & ((1 << _LIMB_BITS) - 1) for place in range(count - 1)]
    return np.stack([*parts, wide >> _LIMB_BITS * (count - 1)], axis=1).astype(np.float64)
