"""The one quadratic equation that the committed numbers of a norm proof fulfil.

The committed numbers are, in this order: k projections v, the digits of the weight (together V),
then CHECKS masks y, the bits of the difference of both sides of the inequality, the bits of the
weight w, and those of the largest weight less w (together W). They fulfil

    E1   4^s <v, v> + sum 2^j b_j - SLACK (a w + b)^2 = 0
    E2   w - sum 2^j c_j = 0
    E3   largest weight - w - sum 2^j e_j = 0
    E4   z_s - <R_s, v> - y_s = 0            for each check s, R_s of zeros and ones
    E5   bit (bit - 1) = 0                   for each bit

They are added up, each times another power of a random number d: a single wrong one leaves a
polynomial in d that is not zero. The sum is `Q(x) = <D x, x> + q w(x)^2 + <l, x> + n`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from securefl_protocols.proofs.norm_terms import CHECKS, SLACK, NormTerms
from securefl_protocols.proofs.projections import PROJECTIONS
from securefl_protocols.proofs.ristretto import ORDER


@dataclass
class Relation:
    """Q, for the challenges of one proof.

    Args:
        terms: The agreed numbers.
        rows: For each check, which projections are in it: k bits.
        checks: z.
        power: d.
    """

    terms: NormTerms
    rows: Sequence[int]
    checks: Sequence[int]
    power: int
    _diagonal: list[int] = field(init=False)
    _linear: list[int] = field(init=False)
    _weight: dict[int, int] = field(init=False)
    _square: int = field(init=False)
    constant: int = field(init=False)

    def __post_init__(self) -> None:
        terms, size = self.terms, self.terms.entries + self.terms.helpers
        self._diagonal, self._linear = [0] * size, [0] * size
        places = range(PROJECTIONS, terms.entries)
        self._weight = {at: 1 << terms.digit_bits * place for place, at in enumerate(places)}
        powers = self._powers()
        self._add_length(next(powers))
        self._add_weights(next(powers), next(powers))
        for place, row in enumerate(self.rows):
            self._add_check(place, row, next(powers))
        for at in range(terms.entries + CHECKS, size):
            factor = next(powers)
            self._diagonal[at] += factor
            self._linear[at] -= factor
        self.constant %= ORDER

    def _powers(self) -> Iterator[int]:
        power = 1
        while True:
            power = power * self.power % ORDER
            yield power

    def _add_length(self, factor: int) -> None:
        terms = self.terms
        for at in range(PROJECTIONS):
            self._diagonal[at] = factor << 2 * terms.shift
        self._square = -factor * SLACK * terms.slope**2 % ORDER
        self._add_weight(-factor * SLACK * 2 * terms.slope * terms.offset)
        self.constant = -factor * SLACK * terms.offset**2
        self._add_bits(self._bits, terms.bound_bits, factor)

    def _add_weights(self, below: int, above: int) -> None:
        terms = self.terms
        first = self._bits + terms.bound_bits
        self._add_weight(below - above)
        self._add_bits(first, terms.weight_bits, -below)
        self._add_bits(first + terms.weight_bits, terms.weight_bits, -above)
        self.constant += above * terms.largest_weight

    def _add_check(self, place: int, row: int, factor: int) -> None:
        self.constant += factor * self.checks[place]
        self._linear[self.terms.entries + place] -= factor
        for at in range(PROJECTIONS):
            if row >> at & 1:
                self._linear[at] -= factor

    @property
    def _bits(self) -> int:
        return self.terms.entries + CHECKS

    def _add_weight(self, factor: int) -> None:
        for at, value in self._weight.items():
            self._linear[at] += factor * value

    def _add_bits(self, first: int, count: int, factor: int) -> None:
        for place in range(count):
            self._linear[first + place] += factor << place

    def quadratic(self, left: Sequence[int], right: Sequence[int]) -> int:
        """Return the symmetric form of the part of degree two, at two vectors."""
        products = zip(self._diagonal, left, right, strict=True)
        squares = self._square * self._weight_of(left) * self._weight_of(right)
        return (sum(d * a * b for d, a, b in products) + squares) % ORDER

    def _weight_of(self, vector: Sequence[int]) -> int:
        return sum(vector[at] * value for at, value in self._weight.items())

    def linear(self, vector: Sequence[int]) -> int:
        """Return the part of degree one."""
        return sum(a * b for a, b in zip(self._linear, vector, strict=True)) % ORDER
