"""Fingerprints: digests short enough to read to each other over the phone."""

from __future__ import annotations

import base64

GROUPS, GROUP = 6, 4


def fingerprint(digest: bytes) -> str:
    """The first 120 bits of a digest as six groups of four letters and digits (RFC 4648 base32).

    Whoever wants another key to have a given fingerprint has to try 2^120 keys. Somebody who makes
    two keys of his own with one fingerprint needs 2^60 tries and wins nothing by it: an agreement
    holds one key a name, and all members sign the whole key. The alphabet has no 0, 1, 8 or 9,
    which sound and look like letters.

    Args:
        digest: At least 15 bytes, for example of SHA-256.
    """
    text = base64.b32encode(digest[: GROUPS * GROUP * 5 // 8]).decode()
    return " ".join(text[start : start + GROUP] for start in range(0, len(text), GROUP))
