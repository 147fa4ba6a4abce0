"""A proof that the projections of an input are as short as agreed, and nothing else.

A proof has six elements: V commits to the projections and the digits of the weight, W to what
helps to prove (`relation`). A proof of knowledge shows that V and W open to numbers that fulfil
the one quadratic equation: with masks m for the numbers x and a challenge X, the response is
r = X x + m, and `<D r, r> + q w(r)^2 + X <l, r> + X^2 n` has no X^2 in it, for Q(x) is what stands
before it. The other two coefficients are committed to beforehand. Two accepting responses to one
start give x, a third one Q(x) = 0 (special soundness); masks that are uniform make the response so
(honest verifier zero knowledge). Challenges are hashes of all before them (Fiat and Shamir).

The checks show that the projections are short *integers*, without which a sum of squares modulo the
order says nothing. Each is a random part of the projections, added up under a mask: if a projection
were not within twice the largest check of zero, half of the parts would show it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import shake_256

from securefl_protocols.primitives.errors import RangeError, RemoteProtocolError
from securefl_protocols.proofs.norm_terms import CHECKS, NormTerms
from securefl_protocols.proofs.projections import PROJECTIONS
from securefl_protocols.proofs.relation import Relation
from securefl_protocols.proofs.ristretto import (
    ORDER,
    POINT_BYTES,
    SCALAR_BYTES,
    check_point,
    combination,
    commitment,
    generator,
    scalar_from,
)

PROOF_LABEL = b"securefl/2/norm proof"
SECRETS_LABEL = b"securefl/2/norm secrets"
_WIDE = 64
_WEIGHT_BYTES = 16


@dataclass(frozen=True, slots=True)
class NormProof:
    """A proof, decoded.

    Attributes:
        points: V, W, the starts of both, and the two coefficients of the equation.
        checks: z, CHECKS integers.
        responses: r, for the numbers in V and W.
        blindings: The responses for the blindings of V and W, and of the equation.
    """

    points: tuple[bytes, ...]
    checks: tuple[int, ...]
    responses: tuple[int, ...]
    blindings: tuple[int, ...]

    def to_bytes(self, terms: NormTerms) -> bytes:
        """Return the proof as it travels; see the specification, section 8."""
        scalars = (s.to_bytes(32, "little") for s in (*self.responses, *self.blindings))
        return b"".join([*self.points, _joined(terms, self.checks), *scalars])

    @classmethod
    def from_bytes(cls, terms: NormTerms, data: bytes) -> "NormProof":
        """Decode a proof.

        Raises:
            RemoteProtocolError: It has another length, or an element, a scalar or a check is none.
        """
        if len(data) != terms.proof_bytes:
            raise RemoteProtocolError("a norm proof has another length")
        sizes = [POINT_BYTES] * 6 + [terms.check_bytes] * CHECKS
        sizes += [SCALAR_BYTES] * (terms.entries + terms.helpers + 3)
        parts = list(_cut(data, sizes))
        points = tuple(check_point(part, "part of a norm proof") for part in parts[:6])
        shown = (int.from_bytes(part, "little") for part in parts[6 : 6 + CHECKS])
        checks = tuple(number - terms.largest_check for number in shown)
        if max(checks) > terms.largest_check:
            raise RemoteProtocolError("a check of a norm proof is too large")
        scalars = tuple(scalar_from(part, "part of a norm proof") for part in parts[6 + CHECKS :])
        return cls(points, checks, scalars[:-3], scalars[-3:])


def prove(
    terms: NormTerms, statement: bytes, values: Sequence[int], blinding: int, secret: bytes
) -> NormProof:
    """Prove that projections and weight keep to the terms.

    Args:
        terms: The agreed numbers.
        statement: What the proof is bound to.
        values: The projections, then the digits of the weight.
        blinding: Of V.
        secret: 32 random bytes of this proof alone.

    Raises:
        RangeError: They do not keep to the terms.
    """
    helpers = _helpers(terms, values)
    drawn = _Secrets(terms, secret, statement, values, blinding)
    numbers = [*values, *drawn.masks, *helpers]
    masks, other, starts = drawn.scalars(len(numbers)), drawn.scalar(), drawn.scalars(4)
    first = commitment(values, 1, blinding)
    second = commitment(numbers[terms.entries :], 1 + terms.entries, other)
    challenges = _Challenges(PROOF_LABEL, statement, first, second)
    rows = challenges.rows()
    checks = tuple(
        sum(value for at, value in enumerate(values[:PROJECTIONS]) if row >> at & 1) + mask
        for row, mask in zip(rows, drawn.masks, strict=True)
    )
    relation = Relation(terms, rows, checks, challenges.after(_joined(terms, checks)))
    middle = 2 * relation.quadratic(numbers, masks) + relation.linear(masks)
    points = (
        first,
        second,
        commitment(masks[: terms.entries], 1, starts[0]),
        commitment(masks[terms.entries :], 1 + terms.entries, starts[1]),
        _value(terms, middle, starts[2]),
        _value(terms, relation.quadratic(masks, masks), starts[3]),
    )
    challenge = challenges.after(b"".join(points[2:]))
    responses = tuple((challenge * n + m) % ORDER for n, m in zip(numbers, masks, strict=True))
    blindings = (
        (challenge * blinding + starts[0]) % ORDER,
        (challenge * other + starts[1]) % ORDER,
        (challenge * starts[2] + starts[3]) % ORDER,
    )
    return NormProof(points, checks, responses, blindings)


def verified(terms: NormTerms, proofs: Sequence[tuple[bytes, NormProof]]) -> bool:
    """Return whether all proofs, each with its statement, are good: one equation for all.

    Its equations are added up with weights of 128 bits that are hashes of all proofs, so that a
    wrong one is overlooked with probability 2^-128.
    """
    count = 2 + terms.entries + terms.helpers
    totals, scalars, points = [0] * count, list[int](), list[bytes]()
    weights = _weights(terms, proofs)
    for statement, proof in proofs:
        at_first, at_second, at_equation = (next(weights) for _ in range(3))
        challenge, rest = _equation(terms, statement, proof)
        first, second, equation = proof.blindings
        totals[0] += at_first * first + at_second * second + at_equation * equation
        for place, response in enumerate(proof.responses, 1):
            totals[place] += response * (at_first if place <= terms.entries else at_second)
        totals[-1] += at_equation * rest
        points += proof.points
        scalars += [-challenge * at_first, -challenge * at_second, -at_first, -at_second]
        scalars += [-challenge * at_equation, -at_equation]
    fixed = map(generator, range(count))
    return combination([*totals, *scalars], [*fixed, *points]) == bytes(POINT_BYTES)


def _equation(terms: NormTerms, statement: bytes, proof: NormProof) -> tuple[int, int]:
    """Return the last challenge, and what the equation is at the responses."""
    challenges = _Challenges(PROOF_LABEL, statement, *proof.points[:2])
    rows = challenges.rows()
    power = challenges.after(_joined(terms, proof.checks))
    relation = Relation(terms, rows, proof.checks, power)
    challenge = challenges.after(b"".join(proof.points[2:]))
    responses = proof.responses
    value = relation.quadratic(responses, responses) + challenge * relation.linear(responses)
    return challenge, (value + challenge**2 * relation.constant) % ORDER


def _helpers(terms: NormTerms, values: Sequence[int]) -> list[int]:
    """Return the bits of the three numbers that are not negative."""
    digits = enumerate(values[PROJECTIONS:])
    weight = sum(digit << terms.digit_bits * place for place, digit in digits)
    squares = sum(value * value for value in values[:PROJECTIONS]) << 2 * terms.shift
    if not 0 <= weight <= terms.largest_weight or squares > terms.bound(weight):
        raise RangeError("the norm of the update is beyond what was agreed")
    return [
        *_bits(terms.bound(weight) - squares, terms.bound_bits),
        *_bits(weight, terms.weight_bits),
        *_bits(terms.largest_weight - weight, terms.weight_bits),
    ]


def _bits(number: int, count: int) -> list[int]:
    return [number >> place & 1 for place in range(count)]


def _value(terms: NormTerms, value: int, blinding: int) -> bytes:
    return commitment([value], 1 + terms.entries + terms.helpers, blinding)


def _joined(terms: NormTerms, checks: Sequence[int]) -> bytes:
    return b"".join((c + terms.largest_check).to_bytes(terms.check_bytes, "little") for c in checks)


def _cut(data: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    start = 0
    for size in sizes:
        yield data[start : start + size]
        start += size


def _weights(terms: NormTerms, proofs: Sequence[tuple[bytes, NormProof]]) -> Iterator[int]:
    content = b"".join(statement + proof.to_bytes(terms) for statement, proof in proofs)
    drawn = shake_256(PROOF_LABEL + content).digest(3 * _WEIGHT_BYTES * len(proofs))
    for part in _cut(drawn, [_WEIGHT_BYTES] * (3 * len(proofs))):
        yield int.from_bytes(part, "little")


class _Challenges:
    """The challenges of a proof, each a hash of all before it; fields have one length each."""

    def __init__(self, *fields: bytes) -> None:
        self._state = b"".join(fields)

    def rows(self) -> list[int]:
        """Return which projections are in each check, k bits each."""
        drawn = shake_256(self._state).digest(CHECKS * PROJECTIONS // 8)
        sizes = [PROJECTIONS // 8] * CHECKS
        return [int.from_bytes(part, "little") for part in _cut(drawn, sizes)]

    def after(self, content: bytes) -> int:
        """Return the challenge after the next part of the proof."""
        self._state = shake_256(self._state).digest(_WIDE) + content
        return int.from_bytes(shake_256(self._state).digest(_WIDE), "little") % ORDER


class _Secrets:
    """The secret numbers of a proof.

    They are hashes of the random bytes *and* of what is proved: an entropy that gives the same
    bytes twice does not give away a number by two responses under one mask.
    """

    def __init__(
        self,
        terms: NormTerms,
        secret: bytes,
        statement: bytes,
        values: Sequence[int],
        blinding: int,
    ) -> None:
        content = b"".join(value.to_bytes(32, "little", signed=True) for value in values)
        content += (blinding % ORDER).to_bytes(32, "little")
        state = SECRETS_LABEL + secret + statement + content
        self._state, self._drawn = shake_256(state).digest(_WIDE), 0
        width, span = terms.check_bytes + 16, 2 * terms.mask_range + 1
        self.masks = [self._below(width, span) - terms.mask_range for _ in range(CHECKS)]

    def _below(self, width: int, span: int) -> int:
        self._drawn += 1
        drawn = shake_256(self._state + self._drawn.to_bytes(4, "big")).digest(width)
        return int.from_bytes(drawn, "little") % span

    def scalar(self) -> int:
        """Return a uniform scalar."""
        return self._below(_WIDE, ORDER)

    def scalars(self, count: int) -> list[int]:
        """Return uniform scalars."""
        return [self.scalar() for _ in range(count)]
