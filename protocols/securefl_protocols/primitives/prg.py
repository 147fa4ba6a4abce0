"""Mask expansion: the AES-256-CTR keystream (NIST SP 800-38A, section 6.5) added in place.

A mask is the keystream of a 32-byte key from counter block zero, read as little-endian words
of the vector in memory: of 2 bytes for the ring of 16 bits, of 4 for 24 and 32, of 8 for 64. A
key expands to one mask only, so the fixed counter is safe. The vector is walked in chunks that
stay in the cache while every mask is added to them, so that memory does not grow with the number
of masks, and the result depends neither on the chunk nor on the number of threads: a thread
starts its counter where its coordinates begin.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

from securefl_protocols.primitives.errors import LocalProtocolError
from securefl_protocols.primitives.ring import RingDtype, RingVector

Sign: TypeAlias = Literal[1, -1]
SignedMask: TypeAlias = tuple[bytes, Sign]
"""A 32-byte mask key, and whether its keystream is added or subtracted."""

MASK_KEY_BYTES = 32
_BLOCK = 16
_LARGEST_CHUNK = 1 << 18
_SMALLEST_CHUNK = 3 << 14
_ZEROS = memoryview(bytes(_LARGEST_CHUNK))
_DTYPES = tuple(ring.dtype for ring in RingDtype)


class KeystreamWords:
    """The same keystream as 16-bit little-endian words, one piece after the other.

    Args:
        key: 32 bytes, which nothing else is drawn from.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != MASK_KEY_BYTES:
            raise LocalProtocolError("a key has 32 bytes")
        self._expand = _keystream(key, 0).update_into

    def fill(self, words: NDArray[np.uint16]) -> None:
        """Overwrite the words, shape [n] contiguous, of at most 2^16, with the next n."""
        self._expand(_ZEROS[: words.nbytes], words.data.cast("B"))


def add_keystream(vector: RingVector, key: bytes, sign: Sign) -> None:
    """Add or subtracts one mask in place, modulo 2^b.

    Args:
        vector: Shape [d], in the dtype of a ring, contiguous and writable.
        key: 32 bytes.
        sign: 1 to add, -1 to subtract.

    Raises:
        LocalProtocolError: The vector or the key is not of that form.
    """
    add_many(vector, [(key, sign)])


def add_many(vector: RingVector, masks: Sequence[SignedMask], *, threads: int = 1) -> None:
    """Add and subtracts many masks in place, modulo 2^b.

    Args:
        vector: Shape [d], in the dtype of a ring, contiguous and writable.
        masks: Keys with their signs, in any order.
        threads: How many threads share the coordinates.

    Raises:
        LocalProtocolError: The vector, a key, a sign or the number of threads is wrong.
    """
    _check(vector, masks, threads)
    chunk = _chunk_bytes(vector.nbytes, threads)
    bounds = _thread_bounds(vector.nbytes, threads)
    if len(bounds) <= 2:
        _add_range(vector, 0, masks, chunk)
        return
    width = vector.itemsize
    with ThreadPoolExecutor(len(bounds) - 1) as pool:
        jobs = [
            pool.submit(_add_range, vector[low // width : high // width], low, masks, chunk)
            for low, high in pairwise(bounds)
        ]
        for job in jobs:
            job.result()


def _check(vector: RingVector, masks: Sequence[SignedMask], threads: int) -> None:
    if vector.ndim != 1 or vector.dtype not in _DTYPES:
        raise LocalProtocolError("a masked vector has one axis, of uint16, uint32 or uint64")
    if not (vector.flags.c_contiguous and vector.flags.writeable):
        raise LocalProtocolError("a vector is masked in place: contiguous and writable")
    if threads < 1:
        raise LocalProtocolError("masks are expanded on at least one thread")
    for key, sign in masks:
        if len(key) != MASK_KEY_BYTES:
            raise LocalProtocolError("a mask key has 32 bytes")
        if sign not in (1, -1):
            raise LocalProtocolError("the sign of a mask is 1 or -1")


def _chunk_bytes(total: int, threads: int) -> int:
    """Return the bytes a thread expands at once: an eighth of its part, within the cache."""
    share = total // (8 * threads) // _BLOCK * _BLOCK
    return min(max(share, _SMALLEST_CHUNK), _LARGEST_CHUNK)


def _thread_bounds(total: int, threads: int) -> list[int]:
    """Return byte offsets between which each thread works, on whole cipher blocks."""
    blocks = -(-total // _BLOCK)
    parts = min(threads, max(1, total // _SMALLEST_CHUNK))
    return [min(total, blocks * part // parts * _BLOCK) for part in range(parts)] + [total]


def _keystream(key: bytes, offset: int) -> CipherContext:
    """Return the cipher positioned at a byte offset, a multiple of the block."""
    counter = (offset // _BLOCK).to_bytes(_BLOCK, "big")
    return Cipher(algorithms.AES256(key), modes.CTR(counter)).encryptor()


def _add_range(part: RingVector, offset: int, masks: Sequence[SignedMask], chunk: int) -> None:
    """Add every mask to one range of coordinates, which starts `offset` bytes in."""
    streams = [
        (_keystream(key, offset).update_into, np.add if sign == 1 else np.subtract)
        for key, sign in masks
    ]
    step = chunk // part.itemsize
    words = np.empty(min(step, part.size), dtype=part.dtype)
    for start in range(0, part.size, step):
        piece = part[start : start + step]
        mask = words[: piece.size]
        zeros, target = _ZEROS[: piece.nbytes], mask.data.cast("B")
        for expand, combine in streams:
            expand(zeros, target)
            combine(piece, mask, piece)
