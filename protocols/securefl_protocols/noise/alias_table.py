"""A distribution over integers as an alias table, sampled exactly with integer comparisons.

The alias method (Walker 1977; set up after Vose 1991) splits the distribution over 2^b columns
of equal mass, each shared by at most two values: b bits of a random word choose the column, the
others decide between its values. Probabilities are whole multiples of 2^-192 that sum to one,
and the table represents them without any rounding: a column's boundary has 192 bits, of which a
64-bit word is compared with the first 64. Only where they are equal, which happens about once in
2^(64 - b) draws, are the other 128 bits drawn and compared.

The first 32 bits of a boundary stand in one entry with the value beyond it, so that a draw reads
one place of memory; they decide all but one draw in 2^(32 - b).

Table look-ups depend on the value drawn, so the time of a draw is not constant on a machine
with caches.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from securefl_protocols.noise.words import Int64Vector, UniformWordSource
from securefl_protocols.primitives.errors import LocalProtocolError

WEIGHT_BITS = 192
"""Probabilities of a table are multiples of 2^-192."""

_REST_BITS = WEIGHT_BITS - 64
_LARGEST_TABLE = 1 << 20
_LOW = 1 << 32
CHUNK = 1 << 13
"""Values drawn at once; part of what a stream of words means, so it is fixed."""


class AliasTable:
    """Exact draws from a distribution on -r..r; an object serves one thread.

    Args:
        weights: 2 r + 1 non-negative integers that sum to 2^192, for -r..r.

    Raises:
        LocalProtocolError: The weights are no such distribution.
    """

    def __init__(self, weights: Sequence[int]) -> None:
        if len(weights) % 2 == 0 or len(weights) > _LARGEST_TABLE or min(weights) < 0:
            raise LocalProtocolError("a table has an odd number of weights, none negative")
        if sum(weights) != 1 << WEIGHT_BITS:
            raise LocalProtocolError("the weights of a table sum to 2^192")
        self.radius = len(weights) // 2
        self._bits = (len(weights) - 1).bit_length()
        columns = 1 << self._bits
        self._boundaries, self._aliases = _columns(weights, columns)
        self._entries = np.array(
            [
                (boundary >> WEIGHT_BITS - 32) << 32 | (alias - column) % _LOW
                for column, (boundary, alias) in enumerate(
                    zip(self._boundaries, self._aliases, strict=True)
                )
            ],
            dtype=np.uint64,
        )
        self._shift = np.uint64(64 - self._bits)
        self._buffers = _Buffers()

    def fill(self, source: UniformWordSource, out: Int64Vector) -> None:
        """Overwrite `out` (int64 [n]) with independent draws.

        Raises:
            LocalProtocolError: The vector is of another form.
        """
        if out.ndim != 1 or out.dtype != np.int64:
            raise LocalProtocolError("noise fills a vector of int64")
        for start in range(0, out.size, CHUNK):
            self._fill_chunk(source, out[start : start + CHUNK])

    def _fill_chunk(self, source: UniformWordSource, out: Int64Vector) -> None:
        words, column, entry, beyond = self._buffers.of(out.size)
        source.fill(words.view(np.int64))
        if self._bits:
            np.right_shift(words, self._shift, out=column)
        else:
            column[...] = 0
        at = column.view(np.int64)
        # Every index is in range; "clip" only spares numpy a second buffer.
        np.take(self._entries, at, out=entry, mode="clip")
        np.greater_equal(words, entry, out=beyond)
        np.bitwise_xor(words, entry, out=words)
        if int(words.min(initial=_LOW)) < _LOW:
            for tie in np.flatnonzero(words < _LOW):
                beyond[tie] = self._is_beyond(int(words[tie] ^ entry[tie]), int(at[tie]), source)
        step = entry.view(np.int64)
        step <<= 32  # and back: what is left is the signed low half
        step >>= 32
        step *= beyond
        np.add(at, step, out=out)
        out -= self.radius

    def _is_beyond(self, word: int, column: int, source: UniformWordSource) -> bool:
        """Whether a draw that begins with `word` is at or beyond its column's boundary."""
        first, rest = divmod(self._boundaries[column], 1 << _REST_BITS)
        return word > first or (word == first and draw_rest(source, _REST_BITS) >= rest)


class _Buffers:
    """What one chunk needs, made once."""

    def __init__(self) -> None:
        self._words = np.empty((3, CHUNK), dtype=np.uint64)
        self._beyond = np.empty(CHUNK, dtype=np.bool_)

    def of(
        self, size: int
    ) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64], NDArray[np.bool_]]:
        words, column, entry = self._words[:, :size]
        return words, column, entry, self._beyond[:size]


def draw_rest(source: UniformWordSource, bits: int) -> int:
    """Return a uniform integer of that many bits, a multiple of 64."""
    words = np.empty(bits // 64, dtype=np.int64)
    source.fill(words)
    return int.from_bytes(words.astype(">i8").tobytes(), "big")


def weights_of(masses: Sequence[int]) -> list[int]:
    """Make a symmetric distribution of masses in proportion.

    Args:
        masses: Non-negative integers for 0..r; -z has the mass of z.

    Returns:
        2 r + 1 integers that sum to 2^192, each rounded down but the one at zero, which has
        what is left over: the total variation distance is below (2 r + 1) 2^-192.
    """
    total = 2 * sum(masses) - masses[0]
    side = [(mass << WEIGHT_BITS) // total for mass in masses[1:]]
    centre = (1 << WEIGHT_BITS) - 2 * sum(side)
    return [*reversed(side), centre, *side]


def _columns(weights: Sequence[int], columns: int) -> tuple[list[int], list[int]]:
    """Return each column's boundary, as a number of 192 bits, and the value beyond it.

    A column that belongs to one value alone has that value beyond a boundary at its start.
    """
    capacity = (1 << WEIGHT_BITS) // columns
    mass = [*weights, *(0 for _ in range(columns - len(weights)))]
    small = [column for column, weight in enumerate(mass) if weight < capacity]
    large = [column for column, weight in enumerate(mass) if weight >= capacity]
    boundaries = [column * capacity for column in range(columns)]
    aliases = list(range(columns))
    while small:
        column, other = small.pop(), large[-1]
        boundaries[column] += mass[column]
        aliases[column] = other
        mass[other] -= capacity - mass[column]
        if mass[other] < capacity:
            small.append(large.pop())
    return boundaries, aliases
