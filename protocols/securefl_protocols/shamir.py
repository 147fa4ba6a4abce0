"""Secret sharing: Shamir 1979 over the prime field of p = 2^31 + 11 = 2147483659.

A 32-byte secret is read as a big-endian number and cut into nine limbs of 31 bits, the most
significant first (the first holds 8 bits). Each limb is shared by its own polynomial of
degree t - 1 with uniform coefficients, evaluated at x = 1..n. Any t shares give the secret
by Lagrange interpolation at zero; fewer say nothing.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from securefl_protocols.entropy import Entropy, draw
from securefl_protocols.errors import LocalProtocolError, RemoteProtocolError

PRIME = 2147483659
SECRET_BYTES = 32
LIMBS = 9
SHARE_BYTES = 4 * LIMBS

Shares: TypeAlias = NDArray[np.uint32]

_LIMB_BITS = 31
_LARGEST_COHORT = 1 << 20


def split(secrets: Sequence[bytes], members: int, threshold: int, entropy: Entropy) -> Shares:
    """Splits secrets into one share a member.

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
    xs = np.arange(1, members + 1, dtype=np.uint64)[:, None]
    values = np.zeros((members, limbs.size), dtype=np.uint64)
    for coefficient in coefficients:
        values = (values + coefficient) * xs % PRIME
    values = (values + limbs) % PRIME
    return values.astype(np.uint32).reshape(members, len(secrets), LIMBS)


def combine(xs: Sequence[int], shares: Shares) -> list[bytes]:
    """Rebuilds secrets from exactly as many shares as the threshold.

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


def lagrange_at_zero(xs: Sequence[int]) -> NDArray[np.uint64]:
    """Returns the weights of the shares at x = 0: the product of x_j / (x_j - x_i), j != i.

    Raises:
        LocalProtocolError: The xs are none, not distinct, or not between 1 and p - 1.
    """
    if not xs or len(set(xs)) != len(xs) or not all(0 < x < PRIME for x in xs):
        raise LocalProtocolError("shares belong to distinct x between 1 and p - 1")
    weights = []
    for x in xs:
        top, bottom = 1, 1
        for other in xs:
            if other != x:
                top, bottom = top * other % PRIME, bottom * (other - x) % PRIME
        weights.append(top * pow(bottom, -1, PRIME) % PRIME)
    return np.array(weights, dtype=np.uint64)


def share_to_bytes(share: Shares) -> bytes:
    """Returns the 36 bytes of one share of one secret: nine big-endian 32-bit words.

    Raises:
        LocalProtocolError: The share has another shape.
    """
    if share.shape != (LIMBS,):
        raise LocalProtocolError("a share has nine limbs")
    return share.astype(">u4").tobytes()


def share_from_bytes(data: bytes, *, peer: int | None = None) -> Shares:
    """Reads one share of one secret; there is one way only to write it.

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


def _limbs(secrets: Sequence[bytes]) -> NDArray[np.uint64]:
    if not secrets or any(len(secret) != SECRET_BYTES for secret in secrets):
        raise LocalProtocolError("secrets have 32 bytes, and there is at least one")
    mask = (1 << _LIMB_BITS) - 1
    numbers = [int.from_bytes(secret, "big") for secret in secrets]
    shifts = [_LIMB_BITS * limb for limb in reversed(range(LIMBS))]
    return np.array([[n >> shift & mask for shift in shifts] for n in numbers], dtype=np.uint64)


def _secret(limbs: Sequence[int]) -> bytes:
    number = 0
    for limb in limbs:
        if limb >> _LIMB_BITS:
            raise RemoteProtocolError("the shares do not belong to one secret")
        number = number << _LIMB_BITS | limb
    if number >> 8 * SECRET_BYTES:
        raise RemoteProtocolError("the shares do not belong to one secret")
    return number.to_bytes(SECRET_BYTES, "big")


def _uniform(count: int, entropy: Entropy) -> NDArray[np.uint64]:
    """Draws uniform field elements: 32-bit words, those not below p thrown away."""
    parts: list[NDArray[np.uint32]] = []
    missing = count
    while missing > 0:
        words = np.frombuffer(draw(entropy, 8 * missing), dtype=">u4")
        accepted = words[words < PRIME][:missing]
        parts.append(accepted.astype(np.uint32))
        missing -= accepted.size
    return np.concatenate(parts).astype(np.uint64) if parts else np.empty(0, np.uint64)
