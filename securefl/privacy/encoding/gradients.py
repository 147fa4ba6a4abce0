"""Encodings of the integers that are summed under noise shares, above all of clipped gradients.

A member's input is minus its clipped sum over the public batch size, in multiples of 2^-f. In
units of the sum itself the step is gamma = B / 2^f; f is agreed so that rounding adds no more
to the clip norm than was agreed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from securefl.config.privacy import PrivacySettings
from securefl.config.schema import RunConfig
from securefl.privacy.accounting.sensitivity import Sensitivity, rounded_sum, rounding_step
from securefl.privacy.encoding.client_update import MemberEncoding, member_bits, member_encoding
from securefl_protocols.noise.words import Int64Vector

DoubleVector = npt.NDArray[np.float64]

_SUMMATION = 2.0**-16
"""Largest error of a float64 sum of clipped gradients, as a part of the clip norm.

By the bounds of `noise/grid.py`: 8 n^2 T u C for batches up to 2^13 units, which is 2^-16 C where a
unit has T = 256 terms, and n T 2^-43 C for larger ones, which is below it up to 2^19 units and
grows in proportion from there: at 4 million units the sensitivity is larger by 1 in 10,000.
"""


@dataclass(frozen=True)
class SumEncoding:
    """The public format of a sum.

    Attributes:
        bits: f; integers are multiples of 2^-f of the change of a parameter.
        sensitivity: Largest change of a member's integers by one unit.
        whole: The encoding of whole updates, where a member is the unit.
    """

    bits: int
    sensitivity: Sensitivity
    whole: MemberEncoding | None

    @property
    def coordinates(self) -> int:
        """Number of integers of a member; loss and weight follow them."""
        return self.sensitivity.dimension


def gradient_sum_encoding(config: RunConfig, dimension: int) -> SumEncoding:
    """Return the encoding of sums of clipped gradients of d shared parameters."""
    settings = config.privacy
    bits = fraction_bits(settings, dimension)
    return SumEncoding(bits, sum_sensitivity(settings, dimension), None)


def client_update_encoding(config: RunConfig, dimension: int) -> SumEncoding:
    """Return the encoding of whole updates of d shared parameters.

    Raises:
        ConfigError: If rounding is too fine for exact norms.
    """
    whole = member_encoding(config, dimension)
    return SumEncoding(member_bits(whole), whole.sensitivity, whole)


def fraction_bits(settings: PrivacySettings, dimension: int) -> int:
    """Return f, the fewest fraction bits with sqrt(d) gamma <= rounding * C, gamma = B / 2^f.

    From `rounding_step`, see docs/explanation/privacy-distributed.md, "Sensitivity under rounding".
    """
    step = rounding_step(settings.clip_norm, dimension, settings.distributed.rounding)
    return math.ceil(math.log2(settings.expected_batch / step))


def gradient_signal(config: RunConfig) -> float:
    """Return the largest coordinate of a mean gradient before noise.

    A gradient's norm is at most C, so that of a batch twice as large as expected no coordinate of
    the mean, by the expected size, is beyond 2 C. A smaller limit that was agreed holds too.
    """
    return min(config.secure.limit / 2, 2 * config.privacy.clip_norm)


def sum_sensitivity(settings: PrivacySettings, dimension: int) -> Sensitivity:
    """Return the sensitivity of a member's integers, by `rounded_sum` with summation error."""
    bits = fraction_bits(settings, dimension)
    step = settings.expected_batch / 2.0**bits
    error = _SUMMATION * settings.clip_norm
    return rounded_sum(settings.clip_norm, step, dimension, error)


def gradient_integers(
    clipped: DoubleVector, settings: PrivacySettings, signal: float
) -> Int64Vector:
    """Return minus the mean gradient in multiples of 2^-f, int64 [d].

    A coordinate beyond the signal's range is clipped, which moves no two sums further apart.

    Args:
        clipped: Sum of clipped gradients, float64 [d].
        settings: Clip norm, batch size and rounding.
        signal: Largest coordinate, from `gradient_signal`.
    """
    bits = fraction_bits(settings, len(clipped))
    change = np.clip(clipped / -settings.expected_batch, -signal, signal)
    return np.rint(np.ldexp(change, bits)).astype(np.int64)
