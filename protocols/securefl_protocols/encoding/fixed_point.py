"""Fixed-point encoding of a weighted update, with an error bound known before training.

The members average updates with weights, and the weights (sample counts) are secret too. So
a member encodes (w * delta, w): coordinate x becomes the integer `q = rint(w * x * 2^f)`
(ties to even), and the weight itself comes last, in digits if the ring is narrow. With the
product scaled before it is rounded, a member errs by at most half a unit whatever its weight,
and the mean of n members by at most `n / (2 * 2^f * sum(w))`. In terms of the scale
`S = w_max * 2^f`, the units that a member of the largest weight has per unit of the update, that
is `n * w_max / (2 * S * sum(w))`.

*No sum wraps.* A member encodes |x| <= limit and w <= w_max only, else it refuses, so that
|q| <= Q, the integer of `limit * w_max * 2^f`, rounded as q is. n members sum to at most n Q, and a
format with n Q > 2^(b-1) - 1 does not exist: this is checked when it is made, from public numbers
alone, and by the plan of the session once more. A digit is bounded in the same way (`Digits`).

*At random* a coordinate is rounded up with the probability of its fraction, in steps of 2^-16, so
that its mean is the coordinate itself, to 2^-16 of a unit. A member then errs by less than one
unit, and the bound is twice as large; but errors of different members and rounds are independent
and average out: the deviation of a mean is at most `sqrt(n) / (2 * 2^f * sum(w))`. The random words
come from a key of the member's own. If they were public, they would add nothing to secrecy and
could be chosen to move the sum.

The factor `w * 2^f` is exact in float64, and so is its product with a float32 coordinate for
w < 2^29: the bound holds exactly. Beyond that (float64 input, wide sums, the division, a
float32 result) the rounding of the float arithmetic is part of `error_bound`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import index
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from securefl_protocols.encoding.digits import Digits
from securefl_protocols.primitives.errors import LocalProtocolError, PlanError, RangeError
from securefl_protocols.primitives.prg import KeystreamWords
from securefl_protocols.primitives.ring import RingDtype, RingVector

FloatVector: TypeAlias = NDArray[np.float32] | NDArray[np.float64]

_SMALLEST_CHUNK = 1 << 12
_LARGEST_CHUNK = 1 << 14
_LARGEST_WEIGHT = (1 << 53) - 1
_LARGEST_FRACTION_BITS = 512


@dataclass(frozen=True, slots=True)
class WeightedMean:
    """What the decoded sum says.

    Attributes:
        mean: Shape [d], float64: the weighted mean of the updates.
        total_weight: Sum of the weights, exact.
        exact: Sums of the integers beside the update, exact.
    """

    mean: NDArray[np.float64]
    total_weight: int
    exact: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """The agreed number format of one session; part of the plan.

    Attributes:
        members: Most members whose vectors may be summed.
        max_weight: Largest weight (sample count) that a member may have.
        limit: Largest absolute value of a coordinate of an update.
        ring: Ring of the masked vectors.
        fraction_bits: f; a coordinate times its weight is rounded to multiples of 2^-f.
        at_random: Whether a member rounds at random, and not to the nearest.
        exact: Largest absolute values of integers that are summed exactly beside the update.
    """

    members: int
    max_weight: int
    limit: float
    ring: RingDtype
    fraction_bits: int
    at_random: bool = False
    exact: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.members < 1:
            raise PlanError("a sum has at least one member")
        if not 1 <= self.max_weight <= _LARGEST_WEIGHT:
            raise PlanError("the largest weight is between 1 and 2^53 - 1")
        if not (math.isfinite(self.limit) and self.limit > 0):
            raise PlanError("the limit of a coordinate is positive and finite")
        if self.at_random and self.ring > RingDtype.UINT32:
            raise PlanError("what has 64 bits is not rounded at random")
        if abs(self.fraction_bits) > _LARGEST_FRACTION_BITS:
            raise PlanError(f"fraction_bits is within {_LARGEST_FRACTION_BITS} of zero")
        if not 1 <= self.limit * self.scale < 2.0**self.ring.value:
            raise PlanError("the limit in units of 2^-fraction_bits does not suit the ring")
        if self.members * self.largest_input > self.ring.largest:
            raise PlanError(
                f"the sum of {self.members} members could wrap in {self.ring.value} bits"
            )

    @classmethod
    def finest(
        cls,
        *,
        members: int,
        max_weight: int,
        limit: float,
        ring: RingDtype,
        at_random: bool = False,
        exact: tuple[int, ...] = (),
    ) -> Self:
        """Return the format with the most fraction bits that cannot wrap.

        Raises:
            PlanError: A parameter is out of range, or no format has room for the sum.
        """
        if not (math.isfinite(limit) and limit > 0 and members > 0 and max_weight > 0):
            raise PlanError("members, the largest weight and the limit are positive")
        room = Fraction(ring.largest) / (members * max_weight * Fraction(limit))
        # At most this many: 2^bits is above the room, and rounding down gains less than one bit.
        bits = room.numerator.bit_length() - room.denominator.bit_length() + 1
        bits = max(min(bits, _LARGEST_FRACTION_BITS), -_LARGEST_FRACTION_BITS)
        # Of more members than the ring has numbers no format is found; the constructor says so.
        while members * _integer(limit, max_weight, bits, at_random) > ring.largest >= members:
            bits -= 1
        return cls(members, max_weight, limit, ring, bits, at_random, exact)

    @property
    def scale(self) -> float:
        """S = w_max * 2^f, the integer units per unit of the heaviest member's update."""
        return math.ldexp(self.max_weight, self.fraction_bits)

    @property
    def largest_integer(self) -> int:
        """Largest absolute value of an encoded coordinate, before the sum."""
        return _integer(self.limit, self.max_weight, self.fraction_bits, self.at_random)

    @property
    def largest_input(self) -> int:
        """Largest absolute value of any coordinate of an input; n times that cannot wrap."""
        return max(self.largest_integer, *(digits.largest_digit for digits in self._digits))

    @property
    def tail(self) -> int:
        """How many coordinates follow the update: the digits of exact integers and the weight."""
        return sum(digits.count for digits in self._digits)

    @property
    def weight_digits(self) -> Digits:
        """How the weight is cut; its digits are the last coordinates of an input."""
        return self._digits[-1]

    @property
    def rounding(self) -> float:
        """How far rounding moves a coordinate at most, in units."""
        return 1.0 if self.at_random else 0.5

    @property
    def _digits(self) -> tuple[Digits, ...]:
        largest = (*self.exact, self.max_weight)
        return tuple(Digits(self.members, number, self.ring) for number in largest)

    def encode(
        self,
        update: FloatVector,
        weight: int,
        exact: Sequence[int] = (),
        *,
        key: bytes | None = None,
    ) -> RingVector:
        """Encode (w * delta, exact integers, w).

        Args:
            update: Shape [d], float32 or float64: the member's unweighted update.
            weight: The member's sample count, 0 to `max_weight`.
            exact: The integers that the format has beside the update.
            key: 32 bytes, secret and used for this vector alone: of rounding at random.

        Returns:
            Shape [d + tail] in the ring's dtype, two's complement; the weight is last.

        Raises:
            RangeError: A coordinate is beyond the limit or not a number, or the weight or an exact
                integer is beyond the largest. Nothing is ever clipped.
            LocalProtocolError: The update is no float vector with one axis, or integers or key
                are not those of the format.
        """
        if update.ndim != 1 or update.dtype not in (np.float32, np.float64):
            raise LocalProtocolError("an update has one axis, of float32 or float64")
        if len(exact) != len(self.exact) or (key is not None) != self.at_random:
            raise LocalProtocolError("exact integers and key are those that the format has")
        if not 0 <= index(weight) <= self.max_weight:
            raise RangeError(f"the weight is not between 0 and {self.max_weight}")
        self._check_range(update)
        encoded = np.empty(update.size + self.tail, dtype=self.ring.dtype)
        signed = encoded.view(self.ring.signed_dtype)
        signed[update.size :] = [
            digit
            for digits, number in zip(self._digits, (*exact, weight), strict=True)
            for digit in digits.split(number)
        ]
        self._scale(update, math.ldexp(weight, self.fraction_bits), signed, key)
        return encoded

    def _scale(
        self,
        update: FloatVector,
        factor: float,
        into: NDArray[np.signedinteger],
        key: bytes | None,
    ) -> None:
        """Write the rounded products of an update and a factor, in chunks."""
        step = min(max(update.size // 10, _SMALLEST_CHUNK), _LARGEST_CHUNK)
        scaled = np.empty(min(step, update.size), dtype=np.float64)
        dither = None if key is None else _Dither(key, scaled.size)
        for start in range(0, update.size, step):
            piece = update[start : start + step]
            part = scaled[: piece.size]
            # Widened before it is multiplied: a float32 product would be rounded twice.
            part[...] = piece
            part *= factor
            if dither is None:
                np.rint(part, out=part)
            else:
                dither.round(part)
            into[start : start + piece.size] = part

    def _check_range(self, update: FloatVector) -> None:
        # A NaN makes either comparison false, so it is refused like everything out of range.
        if update.size and not (
            float(update.min()) >= -self.limit and float(update.max()) <= self.limit
        ):
            raise RangeError(f"a coordinate of the update is not within ±{self.limit:g}")

    def decode(self, total: RingVector) -> WeightedMean:
        """Decode the sum of at most `members` encoded vectors.

        Args:
            total: Shape [d + tail], the sum modulo 2^b.

        Raises:
            RangeError: The weights sum to nothing, or to more than the members can have.
            LocalProtocolError: The sum is not in the ring of this format.
        """
        if total.ndim != 1 or total.size < self.tail or total.dtype != self.ring.dtype:
            raise LocalProtocolError(f"a sum has one axis, of {self.ring.dtype.name}")
        signed = total.view(self.ring.signed_dtype)
        numbers, end = [], total.size - self.tail
        mean = signed[:end].astype(np.float64)
        for digits in self._digits:
            numbers.append(digits.join(signed[end : end + digits.count]))
            end += digits.count
        *exact, weight = numbers
        if not 1 <= weight <= self.members * self.max_weight:
            raise RangeError("the sum of the weights is not possible")
        mean /= math.ldexp(weight, self.fraction_bits)
        return WeightedMean(mean, weight, tuple(exact))

    def error_bound(
        self, members: int, total_weight: int, *, result: type[np.floating] = np.float64
    ) -> float:
        """Return how far a decoded coordinate can be from the exact weighted mean.

        It is `n * w_max / (2 * S * sum(w))` for the rounding to integers, twice that where it is
        at random, plus what float64 can add: the product of a float64 input, the conversion of a
        wide sum and the division round once each, together at most `limit * 2^-51`. A float32
        result is half a unit in its last place further off.

        Args:
            members: How many vectors were summed.
            total_weight: Sum of their weights, at least 1.
            result: np.float64, or np.float32 where the mean is stored as float32.

        Raises:
            LocalProtocolError: There is no member or no weight.
        """
        if members < 1 or total_weight < 1:
            raise LocalProtocolError("a mean needs a member and a weight")
        units = self.rounding * members * self.max_weight / (self.scale * total_weight)
        bound = units * (1 + 2.0**-50) + self.limit * 2.0**-51
        if result is np.float32:
            bound += (self.limit + bound) * 2.0**-24 + 2.0**-150
        return bound


def _integer(limit: float, weight: int, fraction_bits: int, at_random: bool) -> int:
    """Return the most that `encode` makes of the limit; float products grow with their factors."""
    product = limit * math.ldexp(weight, fraction_bits)
    return math.ceil(product) if at_random else round(product)


class _Dither:
    """Rounds numbers at random, piece by piece, with the words of one key."""

    def __init__(self, key: bytes, size: int) -> None:
        self._stream = KeystreamWords(key)
        self._words, self._parts = np.empty(size, dtype="<u2"), np.empty(size)

    def round(self, numbers: NDArray[np.float64]) -> None:
        """Round numbers in place, up where their fraction and word / 2^16 reach one.

        What the addition itself rounds is below 2^-21, so that an integer stays what it is.
        """
        words = self._words[: numbers.size]
        self._stream.fill(words)
        numbers += np.multiply(words, 2.0**-16, out=self._parts[: numbers.size])
        np.floor(numbers, out=numbers)
