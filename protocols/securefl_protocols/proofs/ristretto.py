"""The group ristretto255 (RFC 9496): a group of prime order in which commitments are made.

libsodium does the arithmetic, in constant time, through rbcl. Points are their 32 canonical bytes
everywhere, scalars are Python integers modulo the order.
"""

import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from hashlib import sha512
from pathlib import Path
from typing import Any

from securefl_protocols.primitives.errors import RemoteProtocolError

ORDER = (1 << 252) + 27742317777372353535851937790883648493
"""L, the number of elements; RFC 9496, section 4.4."""
POINT_BYTES = SCALAR_BYTES = 32
IDENTITY = bytes(POINT_BYTES)
"""The encoding of the neutral element."""
GENERATOR_LABEL = b"securefl/2/norm generator"


@cache
def library() -> Any:  # noqa: ANN401 - rbcl has no types
    """Return rbcl.

    Raises:
        ImportError: The extra `proofs` is not installed.
    """
    import rbcl  # noqa: PLC0415 - an extra, loaded where a proof is made

    # rbcl unpacks libsodium into a file of its own at each start and leaves it there. Once it is
    # loaded, the file is not needed; Windows holds on to it.
    with suppress(AttributeError, OSError):
        Path(sys.modules["rbcl._sodium"].lib_path).unlink(missing_ok=True)
    return rbcl


def hashed_to_point(label: bytes) -> bytes:
    """Return the element that 64 hashed bytes stand for: SHA-512, then RFC 9496, section 4.3.4.

    No party knows a relation between such elements of different labels.
    """
    found: bytes = library().crypto_core_ristretto255_from_hash(sha512(label).digest())
    return found


@lru_cache(maxsize=1 << 13)
def generator(place: int) -> bytes:
    """Return the generator that the coordinate at a place is committed with."""
    return hashed_to_point(GENERATOR_LABEL + place.to_bytes(4, "big"))


def times(scalar: int, point: bytes) -> bytes:
    """Return a multiple of an element, which is a valid one."""
    scalar %= ORDER
    # libsodium refuses a product that is the neutral element.
    if not scalar or point == IDENTITY:
        return IDENTITY
    found: bytes = library().crypto_scalarmult_ristretto255(scalar.to_bytes(32, "little"), point)
    return found


def combination(scalars: Iterable[int], points: Iterable[bytes]) -> bytes:
    """Return the sum of multiples of elements."""
    add, total = library().crypto_core_ristretto255_add, IDENTITY
    for scalar, point in zip(scalars, points, strict=True):
        # Bits of a number are many, and half of them are nothing.
        total = add(total, point if scalar == 1 else times(scalar, point))
    return total


def commitment(values: Sequence[int], first: int, blinding: int) -> bytes:
    """Return a Pedersen commitment to values, at the generators from `first` on."""
    places = range(first, first + len(values))
    return combination([blinding, *values], [generator(0), *map(generator, places)])


def check_point(data: bytes, what: str) -> bytes:
    """Return an element from its bytes.

    Raises:
        RemoteProtocolError: They are not the canonical encoding of an element, or the neutral one.
    """
    if data == IDENTITY or not library().crypto_core_ristretto255_is_valid_point(data):
        raise RemoteProtocolError(f"{what} is no element of ristretto255")
    return data


def scalar_from(data: bytes, what: str) -> int:
    """Return a scalar from 32 little-endian bytes.

    Raises:
        RemoteProtocolError: It is not below the order.
    """
    scalar = int.from_bytes(data, "little")
    if scalar >= ORDER:
        raise RemoteProtocolError(f"{what} is no scalar of ristretto255")
    return scalar
