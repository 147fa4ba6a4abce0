"""Integers that are summed exactly, whatever the width of the ring: cut into digits.

A weight or a loss may be wider than a coordinate of a narrow ring. It is cut into signed digits to
the base 2^k, the least significant first: v = sum over j of v_j * 2^(k j), with |v_j| < 2^k and all
of one sign. n digits of one place sum to less than n * 2^k in absolute value, and k is the largest
number of bits for which n * (2^k - 1) does not wrap. So every place is summed exactly, and the sum
of the places, each times its power of the base, is the sum of the integers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securefl_protocols.primitives.errors import PlanError, RangeError
from securefl_protocols.primitives.ring import RingDtype


@dataclass(frozen=True, slots=True)
class Digits:
    """How one integer of each of n members is summed exactly.

    Attributes:
        members: n, the most integers that are summed.
        largest: Largest absolute value of one of them.
        ring: The ring of the digits.
    """

    members: int
    largest: int
    ring: RingDtype

    def __post_init__(self) -> None:
        if self.members < 1 or self.largest < 1:
            raise PlanError("digits are summed of at least one member, with numbers from 1 on")
        if self.members > self.ring.largest:
            raise PlanError(f"{self.members} digits could wrap in {self.ring.value} bits")

    @property
    def bits(self) -> int:
        """k: bits of a digit; of a number that needs no second digit, those of the number."""
        if self.members * self.largest <= self.ring.largest:
            return self.largest.bit_length()
        return (self.ring.largest // self.members + 1).bit_length() - 1

    @property
    def count(self) -> int:
        """How many coordinates a number takes."""
        return -(-self.largest.bit_length() // self.bits)

    @property
    def largest_digit(self) -> int:
        """Largest absolute value of a coordinate, before the sum."""
        return min(self.largest, (1 << self.bits) - 1)

    def split(self, number: int) -> list[int]:
        """Return the digits of a member's number, `count` of them.

        Raises:
            RangeError: The number is beyond the largest.
        """
        if abs(number) > self.largest:
            raise RangeError(f"a number is not within ±{self.largest}")
        sign, rest = (-1 if number < 0 else 1), abs(number)
        base = (1 << self.bits) - 1
        return [sign * (rest >> self.bits * place & base) for place in range(self.count)]

    def join(self, digits: NDArray[np.signedinteger]) -> int:
        """Return the sum of the members' numbers from the sums of their digits, shape [count]."""
        return sum(int(digit) << self.bits * place for place, digit in enumerate(digits.tolist()))
