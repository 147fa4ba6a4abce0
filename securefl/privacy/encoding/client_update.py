"""Encoding of whole client updates under client-level DP: clip, rotate, round.

For consortia so large that a sum hides one member. What is protected is a member's whole update:
neighbouring runs have it or have zero in its place, while the member takes part and adds its
noise share either way. The rest is the path of every other sum: `plan_noise` sizes the shares
(sampling rate 1, one step a round) and secure aggregation adds them up.

Privacy rests on the norm of the integers alone, which is computed in integers and enforced. How
the update was clipped, rotated and rounded in floating point only affects accuracy. The distributed
discrete Gaussian of Kairouz, Liu and Steinke 2021 (arXiv:2102.06387) is built in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from securefl.config.schema import RunConfig
from securefl.errors import ConfigError
from securefl.privacy.accounting.sensitivity import (
    Sensitivity,
    randomly_rounded_member,
    rounded_member,
    rounding_step,
)
from securefl_protocols.encoding.rotation import Rotation
from securefl_protocols.noise.words import Int64Vector, UniformWordSource
from securefl_protocols.wire.context import labelled_digest

ROTATION_LABEL = b"securefl/1/rotation"


def member_encoding(config: RunConfig, dimension: int) -> MemberEncoding:
    """Return the encoding of a run's updates.

    The rotation's seed follows from the agreed seed: a rotation makes coordinates equally large
    and hides nothing, so that it may be public.

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
    """Return f, the number of fraction bits: the integers are multiples of 2^-f."""
    return -round(math.log2(encoding.step))


Vector = npt.NDArray[np.float64]
Rounding = Callable[[Vector], Int64Vector]

_LARGEST_NORM = 2.0**30
"""Below it a squared norm fits an int64, so that the comparison with the bound is exact."""
_TRIES = 60
"""Attempts at rounding; with a bias of one half all of them fail with probability 2^-60."""


def to_nearest(scaled: Vector) -> Int64Vector:
    """Return each coordinate's nearest integer, ties to even; int64 of the same shape."""
    return np.rint(scaled).astype(np.int64)


@dataclass(frozen=True)
class AtRandom:
    """Rounds each coordinate up or down at random, with the coordinate as expectation.

    Attributes:
        source: Source of the random words.
    """

    source: UniformWordSource

    def __call__(self, scaled: Vector) -> Int64Vector:
        """Return the rounded vector, int64 of the same shape [n]."""
        words = np.empty(scaled.size, dtype=np.int64)
        self.source.fill(words)
        below = np.floor(scaled)
        up = words.view(np.uint64) * 2.0**-64 < scaled - below
        return below.astype(np.int64) + up


@dataclass(frozen=True)
class MemberEncoding:
    """The public encoding of members' updates as integers of bounded norm.

    Attributes:
        clip_norm: C, the largest norm of an update.
        dimension: d.
        seed: 32 bytes, of the rotation.
        inflation: sqrt of the rounded coordinates as a part of C / gamma, at most.
        bias: Largest probability that a random rounding is too long; None for rounding to the
            nearest.
    """

    clip_norm: float
    dimension: int
    seed: bytes
    inflation: float = 2e-3
    bias: float | None = None
    rotation: Rotation = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.bias is not None and not 0 < self.bias < 1:
            raise ConfigError(f"the bias of random rounding is {self.bias}, not in (0, 1)")
        object.__setattr__(self, "rotation", Rotation(self.dimension, self.seed))
        if self.sensitivity.l2 > _LARGEST_NORM:
            raise ConfigError("rounding so finely leaves the range in which norms are exact")

    @property
    def step(self) -> float:
        """The real value of one integer unit: gamma, a power of two."""
        largest = rounding_step(self.clip_norm, self.rotation.padded, self.inflation)
        return 2.0 ** math.floor(math.log2(largest))

    @property
    def sensitivity(self) -> Sensitivity:
        """Largest change of a sum by one member."""
        padded = self.rotation.padded
        if self.bias is None:
            return rounded_member(self.clip_norm, self.step, padded)
        return randomly_rounded_member(self.clip_norm, self.step, padded, self.bias)

    def encode(self, update: Vector, rounding: Rounding = to_nearest) -> Int64Vector:
        """Return a member's integers before its noise, of norm at most `sensitivity.l2`.

        Args:
            update: Shape [d], float64; longer ones are clipped. One with values that are not
                finite counts as zero: a refusal would tell it from every other.
            rounding: `to_nearest`, or `AtRandom` where a bias was agreed.

        Returns:
            Shape [padded], int64.
        """
        norm = float(np.linalg.norm(update))
        if not math.isfinite(norm):
            return np.zeros(self.rotation.padded, dtype=np.int64)
        factor = min(1.0, self.clip_norm / norm) if norm else 1.0
        scaled = self.rotation.forward(update * factor) / self.step
        # The norm is checked in integers: whatever floating point did before, nothing longer than
        # the sensitivity that was accounted for leaves. Zero, which is always short enough, is the
        # answer where no attempt succeeds.
        largest = int(self.sensitivity.l2**2)
        for _ in range(_TRIES):
            rounded = rounding(scaled)
            if int(np.dot(rounded, rounded)) <= largest:
                return rounded
        return np.zeros(scaled.size, dtype=np.int64)

    def decode(self, total: Int64Vector) -> Vector:
        """Return the sum of updates, float64 [d], from a sum of integers, int64 [padded]."""
        return self.rotation.inverse(total.astype(np.float64)) * self.step
