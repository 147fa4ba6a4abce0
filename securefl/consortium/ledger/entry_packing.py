"""Ledger entries in few bytes: all but a member's first ones of a run are compressed.

Entries of one member and run differ in digests, signatures and numbers, and share all else. The
first ones are stored as they are and serve the later ones as a dictionary (RFC 1950), so that what
a file needs to be read is in the file. What is signed, hashed and handed out are the entries
themselves; how a file stores them is its own matter.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

WHOLE = 4
"""Entries that are stored as they are: a start, and a release and an outcome of a round."""
_LARGEST = 16 << 20
"""Bytes of an entry; a damaged file must not unpack to more."""
_PLAIN = b"{"
"""What an entry begins with, as canonical JSON; no zlib stream does."""


def add_first(first: list[bytes], data: bytes) -> None:
    """Take an entry into a member's first ones, if it is one; to be called in their order."""
    if len(first) < WHOLE:
        first.append(data)


def packed(data: bytes, first: Sequence[bytes]) -> bytes:
    """Return an entry as it is stored.

    Args:
        data: Its canonical bytes.
        first: The member's first entries of the run, without this one; fewer than `WHOLE` where it
            is one of them.
    """
    if len(first) < WHOLE:
        return data
    dictionary = b"".join(first)
    compressor = zlib.compressobj(zlib.Z_BEST_COMPRESSION, zdict=dictionary)
    return compressor.compress(data) + compressor.flush()


def unpacked(stored: bytes, first: Sequence[bytes]) -> bytes:
    """Return the entry that `packed` stored.

    Raises:
        ValueError: If the bytes are none, or of other first entries.
    """
    if stored[:1] == _PLAIN:
        return stored
    decompressor = zlib.decompressobj(zdict=b"".join(first))
    try:
        data = decompressor.decompress(stored, _LARGEST)
    except zlib.error:
        raise ValueError("an entry cannot be unpacked") from None
    if not decompressor.eof or decompressor.unused_data:
        raise ValueError("an entry cannot be unpacked")
    return data
