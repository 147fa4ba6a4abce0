"""A member's whole update in the format of a masked sum: clipped, rotated, rounded.

The step of `MemberEncoding` is a power of two, so that its integers are exact multiples of 2^-f in
units of the change itself.
"""

from __future__ import annotations

import math
from functools import lru_cache

from securefl.config.schema import RunConfig
from securefl.privacy.member_level import MemberEncoding
from securefl_protocols.context import labelled_digest

ROTATION_LABEL = b"securefl/1/rotation"


def member_encoding(config: RunConfig, dimension: int) -> MemberEncoding:
    """How a run's updates become integers.

    The rotation's seed follows from the agreed seed: it makes coordinates alike, and hides nothing.

    Raises:
        ConfigError: If the numbers have no exact norm.
    """
    settings = config.privacy
    seed = labelled_digest(ROTATION_LABEL, str(config.seed).encode())
    return _encoding(settings.clip_norm, dimension, seed, settings.distributed.rounding)


@lru_cache(maxsize=4)
def _encoding(clip_norm: float, dimension: int, seed: bytes, inflation: float) -> MemberEncoding:
    return MemberEncoding(clip_norm, dimension, seed, inflation)


def member_bits(encoding: MemberEncoding) -> int:
    """f: the integers are multiples of 2^-f."""
    return -round(math.log2(encoding.step))
