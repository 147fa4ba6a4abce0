"""Fingerprints: truncated digests for comparison by phone."""

from __future__ import annotations

import base64

GROUPS, GROUP = 6, 4


def fingerprint(digest: bytes) -> str:
    """Return the first 120 bits of a digest as six groups of four base32 characters (RFC 4648).

    A second preimage takes about 2^120 trials. A collision between two keys of one's own takes
    about 2^60 and gains nothing: an agreement holds one key for each name, and members sign the
    whole key. The base32 alphabet has no 0, 1, 8 or 9, which are confused with letters.

    Args:
        digest: At least 15 bytes, for example SHA-256.
    """
    text = base64.b32encode(digest[: GROUPS * GROUP * 5 // 8]).decode()
    return " ".join(text[start : start + GROUP] for start in range(0, len(text), GROUP))
