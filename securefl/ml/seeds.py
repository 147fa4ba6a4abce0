"""Seeds for everything that is reproducible: initialisation, shuffling, dropout, cohorts.

Nothing that privacy or masking depends on is drawn from these.
"""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed for one purpose, so that no two parts of a run share a random stream.

    SHA-256 of the parts, each preceded by its length.
    """
    digest = hashlib.sha256(b"securefl/1/seed")
    for part in (seed, *purpose):
        text = str(part).encode()
        digest.update(len(text).to_bytes(4, "big") + text)
    return int.from_bytes(digest.digest()[:8], "big") >> 1
