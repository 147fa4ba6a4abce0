"""Masking: Bonawitz et al. 2017, section 4, with keys bound to one round of one session.

Member i sends `x_i + PRG(self key of i) + sum over j of s(i, j) * PRG(pair key of i and j)`
modulo 2^b, where `s(i, j)` is +1 for i < j and -1 for i > j, so that the pairwise masks of
two survivors cancel in the sum.
"""

from collections.abc import Iterable, Mapping

from securefl_protocols.primitives.errors import LocalProtocolError
from securefl_protocols.primitives.kdf import derive_key
from securefl_protocols.primitives.prg import Sign, SignedMask, add_many
from securefl_protocols.primitives.ring import RingVector

PAIRWISE_LABEL = b"securefl/2/pairwise mask"
SELF_LABEL = b"securefl/2/self mask"


def pairwise_sign(member: int, neighbour: int) -> Sign:
    """Return +1 for the member with the lower index and -1 for the other.

    Raises:
        LocalProtocolError: A member is no neighbour of itself.
    """
    if member == neighbour:
        raise LocalProtocolError("a member has no pairwise mask with itself")
    return 1 if member < neighbour else -1


def _index(member: int) -> bytes:
    return member.to_bytes(4, "big")


def pairwise_mask_key(secret: bytes, *, context: bytes, member: int, neighbour: int) -> bytes:
    """Derive the key of the mask that two members share; both get the same.

    Args:
        secret: Their 32-byte X25519 secret, or the pair seed of one round.
        context: What binds the key to this round of this session.
        member: Index of one of the two.
        neighbour: Index of the other.

    Returns:
        32 bytes: HKDF-SHA256 over `context || lower index || higher index`, indices in four
        big-endian bytes.

    Raises:
        LocalProtocolError: Both indices are the same.
    """
    if member == neighbour:
        raise LocalProtocolError("a member has no pairwise mask with itself")
    low, high = sorted((member, neighbour))
    bound = context + _index(low) + _index(high)
    return derive_key(secret, label=PAIRWISE_LABEL, context=bound)


def self_mask_key(seed: bytes, *, context: bytes, member: int) -> bytes:
    """Derive the key of a member's self mask from its 32-byte seed.

    Args:
        seed: The seed that the member shared with its neighbours.
        context: What binds the key to this round of this session.
        member: Index of the member.

    Returns:
        32 bytes: HKDF-SHA256 over `context || index`, the index in four big-endian bytes.
    """
    return derive_key(seed, label=SELF_LABEL, context=context + _index(member))


def mask(
    vector: RingVector,
    *,
    member: int,
    self_key: bytes,
    pairwise_keys: Mapping[int, bytes],
    threads: int = 1,
) -> None:
    """Mask a member's encoded input in place.

    Args:
        vector: Shape [d] in the dtype of its ring: the encoded input.
        member: Index of the member.
        self_key: 32 bytes, from `self_mask_key`.
        pairwise_keys: For each neighbour that shared its keys, 32 bytes from
            `pairwise_mask_key`.
        threads: How many threads share the coordinates.

    Raises:
        LocalProtocolError: There is no neighbour to hide behind, the member is its own
            neighbour, or two masks have the same key.
    """
    if not pairwise_keys:
        raise LocalProtocolError("a vector without a pairwise mask would be laid open")
    masks: list[SignedMask] = [(self_key, 1)]
    for neighbour, key in pairwise_keys.items():
        masks.append((key, pairwise_sign(member, neighbour)))
    if len({key for key, _ in masks}) != len(masks):
        raise LocalProtocolError("two masks of one vector have the same key")
    add_many(vector, masks, threads=threads)


def unmask(
    total: RingVector,
    *,
    self_keys: Iterable[bytes],
    pairwise_keys: Mapping[tuple[int, int], bytes],
    threads: int = 1,
) -> None:
    """Remove from the survivors' sum, in place, what does not cancel by itself.

    Args:
        total: Shape [d] in the dtype of its ring: the sum of the survivors' masked inputs.
        self_keys: The self mask keys of all survivors.
        pairwise_keys: For each (survivor, dropout) that were neighbours, their mask key.
        threads: How many threads share the coordinates.

    Raises:
        LocalProtocolError: A pair is not a pair, or a key has not 32 bytes.
    """
    masks: list[SignedMask] = [(key, -1) for key in self_keys]
    for (survivor, dropout), key in pairwise_keys.items():
        masks.append((key, pairwise_sign(dropout, survivor)))
    add_many(total, masks, threads=threads)
