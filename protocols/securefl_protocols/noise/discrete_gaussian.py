"""Exact draws from the discrete Gaussian: P[z] in proportion to exp(-z^2 / (2 variance)).

Canonne, Kamath and Steinke 2020, definition 1. Up to a variance of 2^20 it is one alias table.
Beyond, it is `y + k y'` with y and y' from two tables. With variances s^2 and s'^2 the sum has
the law of the discrete Gaussian of variance s^2 + k^2 s'^2, up to a factor between
(1 - e) / (1 + e) and (1 + e) / (1 - e) at every value, e = 2.01 exp(-2 pi^2 s^2 s'^2 / variance):
completing the square leaves a Gaussian sum over a shifted lattice, which Poisson summation says
does not depend on the shift (Micciancio and Regev 2007, lemma 4.4). Here s = 4 k makes e < 2^-400.

A draw is within 2^-158 of the exact law in total variation: each table ends where the density
is 2^-160 of its peak, and rounds to multiples of 2^-192.
"""

import math
from decimal import Context, Decimal, localcontext
from fractions import Fraction

import numpy as np

from securefl_protocols.noise.alias_table import CHUNK, AliasTable, weights_of
from securefl_protocols.noise.words import Int64Vector, UniformWordSource
from securefl_protocols.primitives.errors import LocalProtocolError

DISTANCE_BITS = 150
"""A draw of any sampler here is within 2^-150 of its exact law in total variation."""

LARGEST_VARIANCE = 1 << 44
LARGEST_TABLE_VARIANCE = 1 << 20
TAIL_BITS = 160
_FRACTION_BITS = 320
_PRECISION = 120


class DiscreteGaussian:
    """The discrete Gaussian of a variance parameter; an object serves one thread.

    Args:
        variance: sigma^2 in squared integer units, exact; above 0 and at most 2^44.

    Raises:
        LocalProtocolError: The variance is out of range or a float.
    """

    def __init__(self, variance: int | Fraction) -> None:
        self.variance = checked_variance(variance)
        self._tables: tuple[AliasTable, ...]
        if self.variance <= LARGEST_TABLE_VARIANCE:
            self._tables = (_table(self.variance),)
            return
        self._stride = max(1, math.isqrt(math.isqrt(int(self.variance))) // 2)
        fine = Fraction(16 * self._stride**2)
        coarse = (self.variance - fine) / self._stride**2
        self._tables = (_table(fine), _table(coarse))
        self._part: Int64Vector = np.empty(CHUNK, dtype=np.int64)

    def fill(self, source: UniformWordSource, out: Int64Vector) -> None:
        """Overwrite `out` (int64 [n]) with independent draws.

        Raises:
            LocalProtocolError: The vector is of another form.
        """
        for start in range(0, out.size, CHUNK):
            piece = out[start : start + CHUNK]
            self._tables[0].fill(source, piece)
            for table in self._tables[1:]:
                part = self._part[: piece.size]
                table.fill(source, part)
                part *= self._stride
                piece += part


def checked_variance(variance: int | Fraction) -> Fraction:
    """Return the variance as a fraction.

    Raises:
        LocalProtocolError: It is out of range, or no exact number.
    """
    if isinstance(variance, bool) or not isinstance(variance, int | Fraction):
        raise LocalProtocolError("a variance is an exact number: an int or a Fraction")
    if not Fraction(1, 1 << 20) <= variance <= LARGEST_VARIANCE:
        raise LocalProtocolError("a variance is between 2^-20 and 2^44")
    return Fraction(variance)


def high_precision() -> Context:
    """Return a decimal context of 120 digits, in which exp, ln and sqrt are exact to the last."""
    return Context(prec=_PRECISION, Emin=-(10**9), Emax=10**9)


def exact(number: Fraction) -> Decimal:
    """Return a fraction as a decimal, rounded to the precision of the context."""
    return Decimal(number.numerator) / Decimal(number.denominator)


def _table(variance: Fraction) -> AliasTable:
    return AliasTable(weights_of(masses_of(variance)))


def masses_of(variance: Fraction) -> list[int]:
    """Return exp(-z^2 / (2 variance)) 2^320 for z = 0, 1, ... down to 2^-160.

    By recurrence: the ratio of neighbours is exp(-(2 z + 1) / (2 variance)), itself falling by
    exp(-1 / variance) a step. Errors stay below 2^-290 of the peak.
    """
    one = 1 << _FRACTION_BITS
    with localcontext(high_precision()):
        ratio = int(one * (-1 / exact(2 * variance)).exp())
        fall = int(one * (-1 / exact(variance)).exp())
    masses, mass = [], one
    while mass >> (_FRACTION_BITS - TAIL_BITS):
        masses.append(mass)
        mass = mass * ratio >> _FRACTION_BITS
        ratio = ratio * fall >> _FRACTION_BITS
    return masses
