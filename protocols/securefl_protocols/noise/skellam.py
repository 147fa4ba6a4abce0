"""Exact draws from Skellam's law: the difference of two Poissons of mean variance / 2.

P[z] = exp(-variance) I_z(variance), I the modified Bessel function (Skellam 1946). A sum of
independent Skellams is the Skellam of the summed variance, so that shares add up to a law that
does not depend on who made them. Up to a variance of 2^20 it is one alias table, its masses by
Miller's backward recurrence (Gil, Segura and Temme 2007, section 4.6). Beyond, draws of the
discrete Gaussian of equal variance are accepted with an exactly decided probability
(`skellam_ratio`), which is above 1 - 51000 / (24 variance).

A draw is within 2^-150 of the exact law in total variation.
"""

import math
from fractions import Fraction

import numpy as np

from securefl_protocols.noise.alias_table import CHUNK, AliasTable, weights_of
from securefl_protocols.noise.discrete_gaussian import (
    LARGEST_TABLE_VARIANCE,
    TAIL_BITS,
    DiscreteGaussian,
    checked_variance,
)
from securefl_protocols.noise.skellam_rejection import RejectionTest
from securefl_protocols.noise.words import Int64Vector, UniformWordSource

_GUARD_BITS = 400


class Skellam:
    """The symmetric Skellam law of a variance; an object serves one thread.

    Args:
        variance: In squared integer units, exact; between 2^-20 and 2^44.

    Raises:
        LocalProtocolError: The variance is out of range or a float.
    """

    def __init__(self, variance: int | Fraction) -> None:
        self.variance = checked_variance(variance)
        self._sampler: AliasTable | _Thinned = (
            AliasTable(weights_of(masses_of(self.variance)))
            if self.variance <= LARGEST_TABLE_VARIANCE
            else _Thinned(self.variance)
        )

    def fill(self, source: UniformWordSource, out: Int64Vector) -> None:
        """Overwrite `out` (int64 [n]) with independent draws.

        Raises:
            LocalProtocolError: The vector is of another form.
        """
        self._sampler.fill(source, out)


class _Thinned:
    """Skellam draws by rejection from the discrete Gaussian of the same variance."""

    def __init__(self, variance: Fraction) -> None:
        self._proposals = DiscreteGaussian(variance)
        self._acceptance = RejectionTest(variance)

    def fill(self, source: UniformWordSource, out: Int64Vector) -> None:
        for start in range(0, out.size, CHUNK):
            self._fill_chunk(source, out[start : start + CHUNK])

    def _fill_chunk(self, source: UniformWordSource, out: Int64Vector) -> None:
        self._proposals.fill(source, out)
        rejected = self._acceptance.rejected(source, out)
        while rejected.size:
            again = np.empty(rejected.size, dtype=np.int64)
            self._proposals.fill(source, again)
            still = self._acceptance.rejected(source, again)
            out[rejected] = again
            rejected = rejected[still]


def masses_of(variance: Fraction) -> list[int]:
    """Return numbers in proportion to I_z(variance), z = 0, 1, ... down to 2^-160 of the peak.

    The recurrence I_{z-1} = I_{z+1} + (2 z / variance) I_z is stable downwards. It starts
    where I is below 2^-560 of the peak, from 2^400 and zero; what is wrong with that start
    falls off as I grows, to less than 2^-380 of each value, and so do the roundings.
    """
    last = _reach(float(variance), TAIL_BITS)
    start = _reach(float(variance), TAIL_BITS + _GUARD_BITS)
    above, here = 0, 1 << _GUARD_BITS
    masses = [0] * (last + 1)
    for z in range(start, 0, -1):
        factor = 2 * z * variance.denominator
        above, here = here, above + factor * here // variance.numerator
        if z - 1 <= last:
            masses[z - 1] = here
    return masses


def _reach(variance: float, bits: int) -> int:
    """Return a z beyond which the law is below 2^-bits of its peak, by Chernoff's bound.

    P[Z >= z] <= exp(V - v - z asinh(z / v)), V = sqrt(v^2 + z^2); with a factor of
    4 sqrt(v) + 4 for the height of the peak.
    """
    needed = bits * math.log(2) + math.log(4 * math.sqrt(variance) + 4)

    def short(z: int) -> bool:
        x = z / variance
        gap = variance * x**2 / (math.sqrt(1 + x**2) + 1)
        return z * math.asinh(x) - gap < needed

    low, high = 0, 1
    while short(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if short(middle) else (low, middle)
    return high
