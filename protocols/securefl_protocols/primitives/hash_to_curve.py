"""Hashing to Curve25519: `curve25519_XMD:SHA-512_ELL2_RO_` of RFC 9380, up to the cofactor.

The result is used as a random oracle into the group, so two field elements are mapped and added
(`hash_to_curve`, RFC 9380 section 3), and not one (`encode_to_curve`), whose points are only half
of the curve's. The cofactor is not cleared here: X25519 multiplies by a multiple of 8.

Python's integers do not take the same time for all values. Who can time this process closely could
learn of what it hashes; no other party of a protocol sees that time.
"""

from __future__ import annotations

from hashlib import sha512
from typing import Final

from securefl_protocols.primitives.errors import LocalProtocolError

POINT_BYTES: Final = 32

_P: Final = (1 << 255) - 19
_J: Final = 486662
_ROOT_OF_MINUS_ONE: Final = pow(2, (_P - 1) // 4, _P)
_BLOCK: Final = 128  # bytes of a block of SHA-512
_DIGEST: Final = 64
_ELEMENT: Final = 48  # L = ceil((255 + 128) / 8), RFC 9380 section 5.1

Point = tuple[int, int]


def hash_to_curve(message: bytes, domain: bytes) -> bytes:
    """Return the u-coordinate of a point that nobody knows a logarithm of, 32 bytes.

    Args:
        message: What is hashed.
        domain: The domain separation tag, 1 to 255 bytes.

    Raises:
        LocalProtocolError: The tag has another length.
    """
    first, second = hash_to_field(message, domain)
    total = add(map_to_curve(first), map_to_curve(second))
    # The neutral element has no coordinates; a message that leads there is as rare as a collision.
    u = total[0] if total is not None else 0
    return u.to_bytes(POINT_BYTES, "little")


def hash_to_field(message: bytes, domain: bytes) -> tuple[int, int]:
    """Return two elements of the field (RFC 9380, section 5.2)."""
    uniform = _expand(message, domain, 2 * _ELEMENT)
    first, second = uniform[:_ELEMENT], uniform[_ELEMENT:]
    return int.from_bytes(first, "big") % _P, int.from_bytes(second, "big") % _P


def _expand(message: bytes, domain: bytes, length: int) -> bytes:
    """Return `expand_message_xmd` with SHA-512 (RFC 9380, section 5.3.1)."""
    if not 1 <= len(domain) <= 255:
        raise LocalProtocolError("a domain separation tag has 1 to 255 bytes")
    tag = domain + bytes([len(domain)])
    zero = sha512(bytes(_BLOCK) + message + length.to_bytes(2, "big") + b"\0" + tag).digest()
    block = sha512(zero + b"\1" + tag).digest()
    blocks = [block]
    for number in range(2, -(-length // _DIGEST) + 1):
        mixed = bytes(a ^ b for a, b in zip(zero, block, strict=True))
        block = sha512(mixed + bytes([number]) + tag).digest()
        blocks.append(block)
    return b"".join(blocks)[:length]


def map_to_curve(element: int) -> Point:
    """Return Elligator 2 of a field element (RFC 9380, section 6.7.1, with Z = 2)."""
    # 1 + 2 u^2 is never 0: -1/2 is no square modulo p.
    x = -_J * pow(1 + 2 * element * element, -1, _P) % _P
    y = _root(_curve(x))
    if y is not None:
        return x, y if y & 1 else _P - y
    x = (-x - _J) % _P
    other = _root(_curve(x))
    assert other is not None  # one of the two values is a square, by Elligator 2
    return x, other if not other & 1 else _P - other


def _curve(x: int) -> int:
    return x * (x * x + _J * x + 1) % _P


def _root(square: int) -> int | None:
    """Return a square root modulo p, which is 5 modulo 8; None of what is no square."""
    root = pow(square, (_P + 3) // 8, _P)
    if root * root % _P == square:
        return root
    root = root * _ROOT_OF_MINUS_ONE % _P
    return root if root * root % _P == square else None


def add(one: Point, other: Point) -> Point | None:
    """Return the sum of two points of the Montgomery curve; None for the neutral element."""
    (x, y), (a, b) = one, other
    if x == a:
        if (y + b) % _P == 0:
            return None
        slope = (3 * x * x + 2 * _J * x + 1) * pow(2 * y, -1, _P)
    else:
        slope = (b - y) * pow(a - x, -1, _P)
    u = (slope * slope - _J - x - a) % _P
    return u, (slope * (x - u) - y) % _P
