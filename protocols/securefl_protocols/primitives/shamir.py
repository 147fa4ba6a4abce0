"""Secret sharing: Shamir 1979 over the prime field of p = 2^31 + 11 = 2147483659.

A 32-byte secret is read as a big-endian number and cut into nine limbs of 31 bits, the most
significant first (the first holds 8 bits). Each limb is shared by its own polynomial of
degree t - 1 with uniform coefficients, evaluated at x = 1..n. Any t shares give the secret
by Lagrange interpolation at zero; fewer say nothing.

Two things make it fast, and neither changes what a share is. The uniform polynomial is drawn
about the middle of the xs, as f(x) = s - h(0) + h(x) with h(x) = sum of c_j y^j, j = 1..t-1,
and y = 2x - n - 1; for every secret this maps uniform c one to one onto uniform coefficients
of f. The shares at x and n + 1 - x then come from the same even and odd halves of h. And p
is close to a power of two, so that most reductions are a shift and a product with 11.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from securefl_protocols.primitives.entropy import Entropy, draw
from securefl_protocols.primitives.errors import LocalProtocolError, RemoteProtocolError

PRIME = 2147483659
SECRET_BYTES = 32
LIMBS = 9
SHARE_BYTES = 4 * LIMBS

Shares: TypeAlias = NDArray[np.uint32]
FieldArray: TypeAlias = NDArray[np.uint64]

_LIMB_BITS = 31
_LIMB_MASK = (1 << _LIMB_BITS) - 1
_LARGEST_COHORT = 1 << 12
_DENSE = 2
"""Up to so many times as large as their number, xs are taken as most of the points up to there."""


def split(secrets: Sequence[bytes], members: int, threshold: int, entropy: Entropy) -> Shares:
    """Split secrets into one share a member.

    Args:
        secrets: 32 bytes each.
        members: n, how many shares; the share at index i belongs to x = i + 1.
        threshold: t, how many shares give the secret back.
        entropy: Source of the coefficients.

    Returns:
        uint32 of shape [n, secrets, 9], values below p.

    Raises:
        LocalProtocolError: Not 1 <= t <= n, no secret, or one of another length.
    """
    if not 1 <= threshold <= members <= _LARGEST_COHORT:
        raise LocalProtocolError("a threshold lies between one and the number of members")
    limbs = _limbs(secrets).reshape(-1)
    coefficients = _uniform((threshold - 1) * limbs.size, entropy).reshape(-1, limbs.size)
    values = _evaluate(coefficients, members)
    shift = limbs + (PRIME - values[0])
    shares: Shares = ((values[1:] + shift) % PRIME).astype(np.uint32)
    return shares.reshape(members, len(secrets), LIMBS)


def combine(xs: Sequence[int], shares: Shares) -> list[bytes]:
    """Rebuild secrets from exactly as many shares as the threshold.

    Args:
        xs: The x of each share, distinct, between 1 and p - 1.
        shares: uint32 of shape [t, secrets, 9].

    Returns:
        The secrets, 32 bytes each.

    Raises:
        LocalProtocolError: The xs are not distinct, or do not fit the shares.
        RemoteProtocolError: The interpolated limbs are no secret: a share was tampered with.
    """
    if shares.ndim != 3 or shares.shape[0] != len(xs) or shares.shape[2] != LIMBS:
        raise LocalProtocolError("shares have the shape [threshold, secrets, 9]")
    weights = lagrange_at_zero(xs)
    wide = shares.astype(np.uint64).reshape(len(xs), -1)
    limbs = (wide * weights[:, None] % PRIME).sum(axis=0) % PRIME
    return [_secret(row) for row in limbs.reshape(-1, LIMBS).tolist()]


def lagrange_at_zero(xs: Sequence[int]) -> FieldArray:
    """Return the weights of the shares at x = 0: the product of x_j / (x_j - x_i), j != i.

    Raises:
        LocalProtocolError: The xs are none, not distinct, or not between 1 and p - 1.
    """
    if not xs or len(set(xs)) != len(xs) or not all(0 < x < PRIME for x in xs):
        raise LocalProtocolError("shares belong to distinct x between 1 and p - 1")
    if max(xs) <= _DENSE * len(xs):
        return _dense_weights(xs)
    points = np.array(xs, dtype=np.uint64)
    factors = (points[None, :] + (PRIME - points)[:, None]) % PRIME
    np.fill_diagonal(factors, 1)
    everything = int(_product(points[None, :])[0])
    bottoms = (_product(factors) * points % PRIME).tolist()
    return np.array([everything * pow(b, -1, PRIME) % PRIME for b in bottoms], dtype=np.uint64)


def _dense_weights(xs: Sequence[int]) -> FieldArray:
    """Return the weights at 0 of most of the points 1..n, n the largest.

    With the few absent points m, weight_j = n! / (prod m) / j * prod (m - j) over
    (-1)^(j - 1) (j - 1)! (n - j)!: a row for each absent point, in the place of one for each
    share, and no inverse but that of one product.
    """
    largest = max(xs)
    facts, inverses = _factorials(1 << largest.bit_length())
    absent = sorted(set(range(1, largest)).difference(xs))
    points = np.array(xs, dtype=np.uint64)
    weights = inverses[points] * inverses[largest - points] % PRIME
    weights[points % 2 == 0] = PRIME - weights[points % 2 == 0]
    for point in absent:
        weights *= (point + (PRIME - points)) % PRIME
        weights %= PRIME
    top = int(facts[largest]) * pow(math.prod(absent) % PRIME, -1, PRIME) % PRIME
    return weights * np.uint64(top) % PRIME


@lru_cache(maxsize=4)
def _factorials(size: int) -> tuple[FieldArray, FieldArray]:
    """Return n! mod p and its inverse, n below `size`."""
    facts = [1] * size
    for n in range(1, size):
        facts[n] = facts[n - 1] * n % PRIME
    inverses = [1] * size
    inverses[-1] = pow(facts[-1], -1, PRIME)
    for n in range(size - 1, 0, -1):
        inverses[n - 1] = inverses[n] * n % PRIME
    return np.array(facts, dtype=np.uint64), np.array(inverses, dtype=np.uint64)


def share_to_bytes(share: Shares) -> bytes:
    """Return the 36 bytes of one share of one secret: nine big-endian 32-bit words.

    Raises:
        LocalProtocolError: The share has another shape.
    """
    if share.shape != (LIMBS,):
        raise LocalProtocolError("a share has nine limbs")
    return share.astype(">u4").tobytes()


def share_from_bytes(data: bytes, *, peer: int | None = None) -> Shares:
    """Read one share of one secret; there is one way only to write it.

    Args:
        data: 36 bytes.
        peer: Index of the sender, for the error.

    Returns:
        uint32 of shape [9].

    Raises:
        RemoteProtocolError: Another length, or a word that is not below p.
    """
    if len(data) != SHARE_BYTES:
        raise RemoteProtocolError(f"a share has {SHARE_BYTES} bytes", peer)
    words = np.frombuffer(data, dtype=">u4").astype(np.uint32)
    if int(words.max()) >= PRIME:
        raise RemoteProtocolError("a share lies outside the field", peer)
    return words


def _limbs(secrets: Sequence[bytes]) -> FieldArray:
    if not secrets or any(len(secret) != SECRET_BYTES for secret in secrets):
        raise LocalProtocolError("secrets have 32 bytes, and there is at least one")
    numbers = [int.from_bytes(secret, "big") for secret in secrets]
    shifts = [_LIMB_BITS * limb for limb in reversed(range(LIMBS))]
    limbs = [[number >> shift & _LIMB_MASK for shift in shifts] for number in numbers]
    return np.array(limbs, dtype=np.uint64)


def _secret(limbs: Sequence[int]) -> bytes:
    number = 0
    for limb in limbs:
        if limb >> _LIMB_BITS:
            raise RemoteProtocolError("the shares do not belong to one secret")
        number = number << _LIMB_BITS | limb
    if number >> 8 * SECRET_BYTES:
        raise RemoteProtocolError("the shares do not belong to one secret")
    return number.to_bytes(SECRET_BYTES, "big")


def _uniform(count: int, entropy: Entropy) -> FieldArray:
    """Draw uniform field elements: 32-bit words, those not below p thrown away."""
    parts: list[NDArray[np.uint32]] = []
    missing = count
    while missing > 0:
        words = np.frombuffer(draw(entropy, 8 * missing), dtype=">u4")
        accepted = words[words < PRIME][:missing]
        parts.append(accepted.astype(np.uint32))
        missing -= accepted.size
    return np.concatenate(parts).astype(np.uint64) if parts else np.empty(0, np.uint64)


def _evaluate(coefficients: FieldArray, members: int) -> FieldArray:
    """Return h(x) mod p for x = 0..n, shape [n + 1, columns].

    Args:
        coefficients: Shape [t - 1, columns], of y^1 to y^(t - 1), y = 2x - n - 1.
        members: n.
    """
    half = (members + 1) // 2
    ys = members + 1 - 2 * np.arange(half + 1, dtype=np.uint64)[:, None]
    squares = ys * ys % PRIME
    powers = _powers(squares, -(-len(coefficients) // 2))
    odd = _dot(powers, coefficients[0::2]) * ys % PRIME
    even = _dot(powers, coefficients[1::2]) * squares % PRIME
    values = np.empty((members + 1, coefficients.shape[1]), dtype=np.uint64)
    values[: half + 1] = (even + (PRIME - odd)) % PRIME
    values[members + 1 - half :] = ((even + odd) % PRIME)[:0:-1]
    return values


def _powers(bases: FieldArray, count: int) -> FieldArray:
    """Return bases^0 to bases^(count - 1), congruent mod p and below 2^33.

    Args:
        bases: Shape [n, 1], below p.
        count: Columns of the result; a table of m powers is doubled with the m-th.
    """
    table = np.ones((len(bases), count), dtype=np.uint64)
    step, done = bases, 1
    while done < count:
        width = min(done, count - done)
        table[:, done : done + width] = _reduce(table[:, :width] * step)
        step, done = step * step % PRIME, 2 * done
    return table


def _reduce(values: FieldArray) -> FieldArray:
    """Make any 64-bit values smaller than 2^33, in place, without changing them mod p.

    Twice the part above 31 bits is folded, 2^31 being -11 mod p; the multiple of p that is
    added keeps the difference positive.
    """
    for multiple in (64 * PRIME, PRIME):
        high = values >> _LIMB_BITS
        high *= 11
        values &= _LIMB_MASK
        values += multiple
        values -= high
    return values


def _dot(powers: FieldArray, coefficients: FieldArray) -> FieldArray:
    """Return powers @ coefficients mod p, in two halves of 16 bits that cannot overflow.

    A power has 33 bits, half a coefficient 16, and there are at most 2^11 of them.
    """
    columns = np.ascontiguousarray(coefficients.T)
    high = np.einsum("nt,kt->nk", powers[:, : columns.shape[1]], columns >> 16) % PRIME
    low = np.einsum("nt,kt->nk", powers[:, : columns.shape[1]], columns & 0xFFFF)
    product: FieldArray = (low + (high << 16)) % PRIME
    return product


def _product(factors: FieldArray) -> FieldArray:
    """Return the product along the second axis mod p, by halving it."""
    while factors.shape[1] > 1:
        half = factors.shape[1] // 2
        paired = factors[:, :half] * factors[:, half : 2 * half] % PRIME
        factors = np.concatenate([paired, factors[:, 2 * half :]], axis=1)
    return factors[:, 0]
