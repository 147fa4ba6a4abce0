"""Exact draws of the discrete Gaussian for a member's own noise, at 16 random bits a table.

A distribution with probabilities p(z) = (c(z) + r(z)) / 2^16, c(z) whole and 0 <= r(z) < 1, is
drawn by one look-up in 2^16 slots of which each z has c(z). The slots that are left over, a few in
a hundred, send a draw to an alias table of the residual distribution r, exact to 2^-192.
Nothing is compared or multiplied in the common case, so that a draw takes half as long as from an
alias table alone. The draws that masked sums share stay those of `securefl_protocols.noise`, whose
words are part of the protocol.

A large variance v is `y + k y'` from two tables, as there, with a k that is a power of two and
variances s^2 = 6.25 k^2 and (v - s^2) / k^2: the law is that of variance v up to a factor whose
logarithm is below 2^-170 (Micciancio and Regev 2007, lemma 4.4).
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from securefl.privacy.noise.csprng import AesCtrRng
from securefl_protocols.noise.alias_table import WEIGHT_BITS, AliasTable, weights_of
from securefl_protocols.noise.discrete_gaussian import (
    LARGEST_TABLE_VARIANCE,
    checked_variance,
    masses_of,
)

Floats = npt.NDArray[np.float64]

CHUNK = 1 << 14
"""Draws at a time; part of what a key stream means, so that a test key repeats its noise."""
_BITS = 16
_SLOTS = 1 << _BITS


class DirectTables:
    """The discrete Gaussian of a variance parameter; an object serves one thread.

    Args:
        variance: v in squared integer units, exact; above 0 and at most 2^44.

    Raises:
        LocalProtocolError: If the variance is out of range or a float.
    """

    def __init__(self, variance: int | Fraction) -> None:
        variance = checked_variance(variance)
        self._parts = [_Draws(table, stride) for table, stride in _tables(variance)]
        self._words = np.empty(len(self._parts) * CHUNK // 4, dtype=np.int64)

    def add_to(self, numbers: Floats, stream: AesCtrRng) -> None:
        """Add independent draws to whole numbers, float64 [n], n at most `CHUNK`, in place."""
        size = len(self._parts) * numbers.size
        words = self._words[: (size + 3) // 4]
        stream.fill(words)
        halves = words.view(np.uint16)[:size].reshape(len(self._parts), numbers.size)
        for part, chosen in zip(self._parts, halves, strict=True):
            part.add_to(numbers, chosen, stream)


class _Table:
    """Slots and residual of one distribution; constant, so that objects share it.

    Args:
        variance: At most 2^24, exact.
    """

    def __init__(self, variance: Fraction) -> None:
        weights = weights_of(masses_of(variance))
        counts = [weight >> (WEIGHT_BITS - _BITS) for weight in weights]
        radius = len(weights) // 2
        self.full = sum(counts)
        """Slots that have a value; the others are for the residual."""
        self.slots = np.zeros(_SLOTS, dtype=np.float32)
        values = np.arange(-radius, radius + 1, dtype=np.float32)
        self.slots[: self.full] = np.repeat(values, counts)
        residual = [
            weight - (count << (WEIGHT_BITS - _BITS))
            for weight, count in zip(weights, counts, strict=True)
        ]
        # Symmetric like the weights, and scaled up to the whole: what is left over of the division
        # goes to zero, at most one part in 2^192 of each value.
        self.residual = weights_of(residual[radius:]) if self.full < _SLOTS else [1 << WEIGHT_BITS]


class _Draws:
    """Draws from one table, times a stride, with buffers of their own."""

    def __init__(self, table: _Table, stride: int) -> None:
        self._table = table
        self._slots = table.slots * np.float32(stride)  # exact: below 2^24
        self._stride = stride
        self._residual = AliasTable(table.residual)
        self._index = np.empty(CHUNK, dtype=np.int64)
        self._drawn = np.empty(CHUNK, dtype=np.float32)
        self._rest = np.empty(CHUNK, dtype=np.int64)

    def add_to(self, numbers: Floats, chosen: npt.NDArray[np.uint16], stream: AesCtrRng) -> None:
        index, drawn = self._index[: numbers.size], self._drawn[: numbers.size]
        np.copyto(index, chosen)
        np.take(self._slots, index, out=drawn, mode="clip")
        if self._table.full < _SLOTS:
            left = np.flatnonzero(chosen >= np.uint16(self._table.full))
            rest = self._rest[: left.size]
            self._residual.fill(stream, rest)
            drawn[left] = rest * self._stride
        np.add(numbers, drawn, out=numbers)


def _tables(variance: Fraction) -> list[tuple[_Table, int]]:
    if variance <= LARGEST_TABLE_VARIANCE:
        return [(_table(variance), 1)]
    deviation = math.isqrt(int(variance))
    stride = 1 << (math.isqrt(2 * deviation // 5).bit_length() - 1)
    fine = Fraction(25 * stride**2, 4)
    return [(_table(fine), 1), (_table((variance - fine) / stride**2), stride)]


@lru_cache(maxsize=16)
def _table(variance: Fraction) -> _Table:
    return _Table(variance)
