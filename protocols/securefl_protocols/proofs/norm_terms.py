"""What a norm proof says: the agreed numbers in the inequality that a member proves.

With w the member's weight, x its d weighted coordinates, v the k projections of x, and whole
numbers slope a, offset b and shift s, an input is short enough if

    |x| <= (a w + b) / 2^s                                                                  (1)

and what is proved of it is

    4^s * (v_1^2 + ... + v_k^2) <= SLACK * (a w + b)^2  and  0 <= w <= the largest weight   (2)

*Completeness.* The mean of the sum of squares is 2 k |x|^2, so SLACK / (2 k) is how much longer
than its mean it may be. An entry of a projection is the half of a sum of eight signs, whose moments
are at most those of the normal law, so Chernoff's bound of chi-squared with k degrees of freedom
holds: (t e^(1-t))^(k/2) with t = 927 / 512 is below 2^-40. So seldom a member that keeps to (1) has
no proof.

*Soundness.* Let |x| be r times what (1) allows. With c = cos, Hoelder's inequality gives

    E exp(-l v_1^2 / (2 |x|^2)) <= sup over u in (0, 1] of E |c(g u sqrt(l) / 2)|^(8 / u^2)

for a normal g, and Markov's inequality for the product of k of them bounds the chance of (2). It
is below 2^-95 for r = 2.5, 2^-140 for r = 3 and 2^-400 for r = 10
(`tests/protocols/proofs/test_norm_bounds.py` computes them).
"""

import math
from dataclasses import astuple, dataclass
from typing import Self

from securefl_protocols.primitives.errors import PlanError
from securefl_protocols.proofs.projections import PROJECTIONS
from securefl_protocols.proofs.ristretto import ORDER, POINT_BYTES, SCALAR_BYTES

SLACK = 927
"""How long the projections may be, in units of what (1) allows; k times their variance is 512."""
CHECKS = 128
"""Random sums of projections that are shown under masks: one that is no short integer passes with
probability 2^-128."""
MASK_BITS = 71
"""By how much the masks of these sums are longer than the sums: 128 of them differ from masks alone
by at most 2^-64."""

_PRECISE = 1 << 10
_LARGEST_SHIFT = 64


@dataclass(frozen=True, slots=True)
class NormTerms:
    """The agreed numbers of the members' norm proofs; part of the plan.

    Attributes:
        coordinates: d, those first coordinates of an input whose length is bounded.
        digits: Those last coordinates of an input that are the digits of its weight.
        digit_bits: Bits of a digit.
        largest_weight: Largest weight.
        slope: a, allowed length for each unit of weight, in units of 2^-shift.
        offset: b, allowed length beside it, for what rounding adds, in the same units.
        shift: s.
    """

    coordinates: int
    digits: int
    digit_bits: int
    largest_weight: int
    slope: int
    offset: int
    shift: int

    def __post_init__(self) -> None:
        if min(self.coordinates, self.digits, self.digit_bits, self.largest_weight) < 1:
            raise PlanError("a norm is proved of at least one coordinate and of a weight")
        if self.slope < 1 or self.offset < 0 or not 0 <= self.shift <= _LARGEST_SHIFT:
            raise PlanError("the agreed norm has no room")
        # Were it larger, numbers that are no short integers could have a short sum of squares.
        squares = PROJECTIONS * (2 * self.largest_check) ** 2 << 2 * self.shift
        if squares + (1 << self.bound_bits) >= ORDER // 2:
            raise PlanError("norms of so many bits cannot be proved: a sum has at most 32")

    @classmethod
    def of(
        cls,
        norm: float,
        *,
        coordinates: int,
        scale: float,
        error: float,
        weight: tuple[int, int, int],
    ) -> Self:
        """Return the terms for a norm of the unweighted update.

        Args:
            norm: The largest one.
            coordinates: d.
            scale: Integer units per unit of the update, at weight 1.
            error: How far rounding moves a coordinate, in units.
            weight: Digits, their bits, and the largest weight.

        Raises:
            PlanError: The numbers do not fit.
        """
        if not (math.isfinite(norm * scale) and norm * scale > 0):
            raise PlanError("the largest norm is positive and finite")
        shift = max(0, math.ceil(math.log2(_PRECISE / (norm * scale))))
        unit = 2.0**shift
        # What float64 rounds in norm, scale and products is far below a millionth.
        slope = math.ceil(norm * scale * unit * (1 + 2.0**-20))
        offset = math.ceil(error * math.sqrt(coordinates) * unit * (1 + 2.0**-20))
        return cls(coordinates, *weight, slope, offset, shift)

    @property
    def entries(self) -> int:
        """Values in the commitment: the projections and the digits of the weight."""
        return PROJECTIONS + self.digits

    @property
    def weight_bits(self) -> int:
        """Bits of a weight."""
        return self.largest_weight.bit_length()

    @property
    def bound_bits(self) -> int:
        """Bits of the right side of (2), hence of the difference of both sides."""
        return self.bound(self.largest_weight).bit_length()

    @property
    def helpers(self) -> int:
        """Values beside the commitment: masks of the checks, and bits of three numbers."""
        return CHECKS + self.bound_bits + 2 * self.weight_bits

    @property
    def largest_check(self) -> int:
        """Largest absolute value that a check may show."""
        return self.mask_range + self._largest_sum

    @property
    def mask_range(self) -> int:
        """Largest absolute value of a mask of a check."""
        return self._largest_sum << MASK_BITS

    @property
    def _largest_sum(self) -> int:
        """Largest sum of some projections that keep to (2); Cauchy and Schwarz."""
        longest = math.isqrt(self.bound(self.largest_weight) >> 2 * self.shift) + 1
        return (math.isqrt(PROJECTIONS) + 1) * longest

    @property
    def check_bytes(self) -> int:
        """Bytes of a shown check."""
        return ((2 * self.largest_check).bit_length() + 7) // 8

    @property
    def proof_bytes(self) -> int:
        """Bytes of a proof."""
        scalars = self.entries + self.helpers + 3
        return 6 * POINT_BYTES + CHECKS * self.check_bytes + scalars * SCALAR_BYTES

    def bound(self, weight: int) -> int:
        """Return the right side of (2)."""
        return SLACK * (self.slope * weight + self.offset) ** 2

    def fields(self) -> list[bytes]:
        """Return the numbers as the digest of a plan has them, sixteen bytes each."""
        return [number.to_bytes(16, "big") for number in astuple(self)]
