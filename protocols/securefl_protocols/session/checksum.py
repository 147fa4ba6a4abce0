"""The tag with which members check the sum online: a keyed linear function of the input.

Against the coordinator alone, whoever it is: the members share a key that it does not know.
A member that colludes gives it the key, and then only the transcript shows a wrong sum.

The signed integers x of an input are cut into rows of 512. With secret row weights a and
column weights b, drawn for one round from [0, 2^60), the tag of member i is

    tag_i = sum over r, c of a_r * x_(r,c) * b_c + pad_i   mod q = 2^89 - 1

Tags add up like inputs, because inputs are added as integers: the plan rules out that their
sum wraps. The sum of the pads is uniform to the coordinator, so the tag of the sum tells it
nothing of a and b; a wrong sum with a tag of its choice is accepted only if a polynomial of
degree two that is not zero vanishes at (a, b), with probability at most 2 / 2^60 (Schwartz
1980, Zippel 1979). q is larger than any difference of two sums, so no wrong sum is congruent
to the right one.

A tag is masked modulo q like an input modulo 2^b, with one number from each mask key, so that
only the sum of the tags modulo q is ever seen, also by a coordinator that knows the key.

The numbers are bound to a check of the tag key. Nothing forces a member that colludes to deal
the same contribution to everybody. If the masks of the tags of two members with different keys
cancelled, all would be known of the sum of the tags but (w' - w)(x), for the weights w and w' of
the two keys and the input x of one member alone. Bound to the check they do not cancel, and
the sum of the tags is uniform.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.primitives.kdf import derive_key, index_bytes
from securefl_protocols.primitives.prg import SignedMask, add_keystream
from securefl_protocols.primitives.ring import RingVector
from securefl_protocols.wire.context import labelled_digest
from securefl_protocols.wire.messages import CHECKSUM_BYTES

MODULUS = (1 << 89) - 1
KEY_LABEL = b"securefl/2/tag key"
WEIGHTS_LABEL = b"securefl/2/tag weights"
PAD_LABEL = b"securefl/2/tag pad"
MASK_LABEL = b"securefl/2/tag mask"
CHECK_LABEL = b"securefl/2/tag key check"

_COLUMNS = 512
_LIMBS = 5
_LIMB_BITS = 12
_HALF_BITS = 26
_BLOCK = 64 * _COLUMNS


class ChecksumKey:
    """The key of one round; every member of the cohort that shared keys has the same.

    Attributes:
        check: 32 bytes that say whether two members have the same key, and hide which.
    """

    def __init__(self, contributions: Mapping[int, bytes], *, context: bytes) -> None:
        """Derive the key from what the members sealed for each other.

        Args:
            contributions: 32 bytes of every member that shared its keys in this round.
            context: 32 bytes, the context of the round.
        """
        fields = [index_bytes(member) + contributions[member] for member in sorted(contributions)]
        self._key = labelled_digest(KEY_LABEL, context, *fields)
        self._context = context
        self.check = labelled_digest(CHECK_LABEL, context, self._key)

    def __repr__(self) -> str:
        return "ChecksumKey(...)"

    def checksum(self, member: int, vector: RingVector) -> int:
        """Return the tag of a member's input, before it is masked.

        Args:
            member: Index of the member.
            vector: Shape [d], the unmasked input in its ring.
        """
        return (self._weighted(vector) + self._pad(member)) % MODULUS

    def fits(self, total: RingVector, tag: int, survivors: Iterable[int]) -> bool:
        """Say whether the sum is that of exactly these survivors' inputs.

        Args:
            total: Shape [d], the sum that the coordinator announced.
            tag: The sum of the tags that it announced.
            survivors: Whose inputs are to be in the sum.
        """
        pads = sum(self._pad(member) for member in survivors)
        return (tag - pads - self._weighted(total)) % MODULUS == 0

    def _pad(self, member: int) -> int:
        context = self._context + index_bytes(member)
        return int.from_bytes(derive_key(self._key, label=PAD_LABEL, context=context), "big")

    def _weighted(self, vector: RingVector) -> int:
        """Return the weighted sum of the signed integers, not reduced modulo q."""
        rows = -(-vector.size // _COLUMNS)
        key = derive_key(self._key, label=WEIGHTS_LABEL, context=self._context)
        weights = np.zeros(_COLUMNS + rows, dtype="<u8")
        add_keystream(weights, key, 1)
        weights >>= np.uint64(64 - _LIMBS * _LIMB_BITS)
        columns = _limbs(weights[:_COLUMNS]).astype(np.float64)
        blocks = [
            _times_columns(vector[start : start + _BLOCK], columns)
            for start in range(0, vector.size, _BLOCK)
        ]
        return _weighted_rows(_limbs(weights[_COLUMNS:]), np.concatenate(blocks, axis=1))


def mask_checksum(tag: int, masks: Iterable[SignedMask], *, check: bytes) -> int:
    """Add and subtracts the masks of a tag, or of a sum of tags.

    Args:
        tag: A number modulo q.
        masks: The same mask keys and signs as of the input.
        check: 32 bytes, the check of the key that the tag was made with.
    """
    return (tag + sum(sign * _mask_number(key, check) for key, sign in masks)) % MODULUS


def checksum_to_bytes(tag: int) -> bytes:
    """Return a tag as 12 big-endian bytes."""
    return tag.to_bytes(CHECKSUM_BYTES, "big")


def checksum_from_bytes(data: bytes) -> int:
    """Read what `checksum_to_bytes` wrote.

    Raises:
        RemoteProtocolError: There are not 12 bytes, or the number is not below q.
    """
    tag = int.from_bytes(data, "big")
    if len(data) != CHECKSUM_BYTES or tag >= MODULUS:
        raise RemoteProtocolError("a tag is a number modulo 2^89 - 1 in 12 bytes")
    return tag


def _mask_number(key: bytes, check: bytes) -> int:
    return int.from_bytes(derive_key(key, label=MASK_LABEL, context=check), "big")


def _limbs(weights: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Cut weights of 60 bits into limbs of 12, shape [weights, 5], the least first."""
    mask = np.uint64((1 << _LIMB_BITS) - 1)
    shifts = np.arange(_LIMBS, dtype=np.uint64) * np.uint64(_LIMB_BITS)
    return ((weights[:, None] >> shifts) & mask).astype(np.int64)


def _times_columns(block: RingVector, columns: NDArray[np.float64]) -> NDArray[np.int64]:
    """Multiply rows of 512 integers with the limbs of the column weights.

    Returns:
        Shape [words, rows, 5]: for each 32-bit word of a ring, the most significant signed,
        its product with each limb. Exact, because 512 * 2^32 * 2^12 is 2^53.
    """
    if block.itemsize < 4:
        block = block.view(np.int16).astype("<i4").view("<u4")
    padded = np.concatenate([block, np.zeros(-block.size % _COLUMNS, dtype=block.dtype)])
    words = padded.view("<u4").reshape(-1, _COLUMNS, block.itemsize // 4)
    *lower, top = (words[:, :, place] for place in range(words.shape[2]))
    parts = [*lower, top.view("<i4")]
    return np.stack([(part.astype(np.float64) @ columns).astype(np.int64) for part in parts])


def _weighted_rows(rows: NDArray[np.int64], products: NDArray[np.int64]) -> int:
    """Multiply with the row weights and puts words and limbs together.

    A product is halved into 26 bits and the rest, so that 2^19 of them times a limb still
    fit 64 bits.
    """
    low, high = products & ((1 << _HALF_BITS) - 1), products >> _HALF_BITS
    total = 0
    for shift, half in ((0, low), (_HALF_BITS, high)):
        for (word, row, column), part in np.ndenumerate(rows.T @ half):
            total += int(part) << shift + 32 * word + _LIMB_BITS * (row + column)
    return total
