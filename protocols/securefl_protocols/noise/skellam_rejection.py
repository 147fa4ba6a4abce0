"""Whether a draw of the discrete Gaussian is one of Skellam's: exact acceptance.

With v the variance of both laws, x = z / v and V = sqrt(v^2 + z^2), the Skellam probability is
that of the exponentially tilted law at its own mean z, times what the tilting costs:

    S(z) = exp(V - v - z asinh(x)) A(z),
    A(z) = 1/(2 pi) * integral over -pi..pi of exp(-V (1 - cos t)) cos(z (t - sin t)) dt.

Against the Gaussian of variance v that makes the logarithm of the ratio

    L(z) = (V - v - z asinh(x) + z^2 / (2 v)) - log(1 + x^2) / 4 + log(A(z) sqrt(2 pi V)).

For v >= 2^20 and |z| <= 15 sqrt(v) the first term is between v x^4 / 24 - v x^6 / 80 and
v x^4 / 24 (the series of asinh alternates), and the last within 0.26 / V of zero: A is at most
exp(-V) I_0(V), and at least that integral without the cosine less z^2 t^6 / 72 under it
(docs/explanation/noise-shares.md has the steps). So a proposal is accepted with probability
exp(L(z) - L_max), where L_max = 15^4 / (24 v) + 1 / v: nearly always. What the bounds leave
undecided, which is about one draw in v, is decided by A to 2^-150, from the trapezoidal rule. For
a periodic integrand its error is the sum of the aliases, the tilted law's tail beyond the number
of points.
"""

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from securefl_protocols.noise.alias_table import WEIGHT_BITS, draw_rest
from securefl_protocols.noise.discrete_gaussian import exact, high_precision
from securefl_protocols.noise.words import Int64Vector, UniformWordSource

REACH = 15
"""Values beyond so many standard deviations are never accepted: less than 2^-159 of the law."""

_FLOAT_MARGIN = 1e-12
_PERIOD = 24
_CUT = 20
_TERMS = 16


class RejectionTest:
    """Decide for proposals from the discrete Gaussian of one variance.

    Args:
        variance: At least 2^20.
    """

    def __init__(self, variance: Fraction) -> None:
        self._variance = variance
        self._float = float(variance)
        self._radius = REACH * math.isqrt(int(variance))
        self._log_largest = Fraction(REACH**4, 24) / variance + 1 / variance
        # Below this word every value within reach is accepted: L(z) >= -1 / variance.
        safe = 1 - self._log_largest - 1 / variance
        self._safe = np.uint64(math.floor(safe * (1 << 64)))

    def rejected(self, source: UniformWordSource, proposals: Int64Vector) -> NDArray[np.intp]:
        """Return where the proposals (int64 [n]) are to be drawn again."""
        words = np.empty(proposals.size, dtype=np.int64)
        source.fill(words)
        uniform = words.view(np.uint64)
        beyond = np.abs(proposals) > self._radius
        doubtful = np.flatnonzero(beyond | (uniform >= self._safe))
        if not doubtful.size:
            return doubtful
        accept = self._decide(source, proposals[doubtful], uniform[doubtful])
        return doubtful[~accept | beyond[doubtful]]

    def _decide(
        self, source: UniformWordSource, values: Int64Vector, uniform: NDArray[np.uint64]
    ) -> NDArray[np.bool_]:
        """Compare by bounds in floating point, and exactly where they do not decide."""
        low, high = self._bounds(values)
        # The word is the first 64 bits of a longer number, so it stands for a range.
        position = uniform.astype(np.float64) * 2.0**-64
        accept = position < low - _FLOAT_MARGIN
        for at in np.flatnonzero(~accept & (position <= high + _FLOAT_MARGIN)):
            rest = WEIGHT_BITS - 64
            number = (int(uniform[at]) << rest) | draw_rest(source, rest)
            accept[at] = number < self.probability(int(values[at]))
        return accept

    def _bounds(self, values: Int64Vector) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Bound of exp(L(z) - L_max), shape [n] each; values beyond reach do not matter."""
        v = self._float
        x = np.minimum(np.abs(values), self._radius) / v
        middle = v * x**4 / 24 - np.log1p(x**2) / 4 - float(self._log_largest)
        return np.exp(middle - v * x**6 / 80 - 0.26 / v), np.exp(middle + 0.26 / v)

    def probability(self, value: int) -> int:
        """Return exp(L(z) - L_max) 2^192, within 2^42 of it."""
        with localcontext(high_precision()):
            variance, z = exact(self._variance), Decimal(value)
            tilted = (variance * variance + z * z).sqrt()
            x = z / variance
            asinh = (x + (1 + x * x).sqrt()).ln()
            exponent = tilted - variance - z * asinh + z * z / (2 * variance)
            largest = exact(self._log_largest)
            scale = (2 * _pi() * variance).sqrt()
            ratio = (exponent - largest).exp() * scale * _tilted_at_mean(tilted, z)
            return int(ratio * (1 << WEIGHT_BITS))


def _tilted_at_mean(tilted: Decimal, z: Decimal) -> Decimal:
    """Return A(z) by the trapezoidal rule, relative error below 2^-250.

    The aliases are below 2 exp(-_PERIOD^2 / 2), and so are the terms left out beyond an angle
    of `_CUT / sqrt(V)`, in total exp(-_CUT^2 / 2 (1 - 10^-4)).
    """
    width = int(tilted.sqrt()) + 1
    points = _PERIOD * width
    step = 2 * _pi() / points
    total = Decimal(1)
    for number in range(1, int(_CUT / (step * (width - 1))) + 2):
        angle = number * step
        one_less_cosine, sine_gap = _gaps(angle)
        total += 2 * (-tilted * one_less_cosine).exp() * _cosine(z * sine_gap)
    return total / points


def _gaps(angle: Decimal) -> tuple[Decimal, Decimal]:
    """Return 1 - cos t and t - sin t for t below 0.03, by series, within 10^-80."""
    square, term = angle * angle, Decimal(1)
    cosine_gap = sine_gap = Decimal(0)
    for number in range(1, _TERMS + 1):
        term = -term * square / ((2 * number - 1) * (2 * number))
        cosine_gap -= term
        sine_gap -= term * angle / (2 * number + 1)
    return cosine_gap, sine_gap


def _cosine(angle: Decimal) -> Decimal:
    """Return cos t for |t| below 0.03."""
    return 1 - _gaps(angle)[0]


def _pi() -> Decimal:
    """Return pi by Machin's formula in the precision of the context."""

    def arctangent_of_inverse(number: int) -> Decimal:
        power, total, odd = Decimal(1) / number, Decimal(0), 1
        while abs(power) > Decimal(10) ** -130:
            total += power / odd
            power, odd = -power / (number * number), odd + 2
        return total

    return 4 * (4 * arctangent_of_inverse(5) - arctangent_of_inverse(239))
