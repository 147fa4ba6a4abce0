"""Clipped gradient sums as integers with a noise share, in the format of a masked sum.

A member's input is minus its clipped sum over the public batch size, in multiples of 2^-f. In
units of the sum itself the step is gamma = B / 2^f; f is agreed so that rounding adds no more
to the clip norm than was agreed.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from securefl.config.privacy import PrivacySettings
from securefl.errors import ConfigError
from securefl.privacy.accounting.sensitivity import Sensitivity, rounded_sum, rounding_step
from securefl_protocols.noise.words import Int64Vector

DoubleVector = npt.NDArray[np.float64]

_SUMMATION = 2.0**-16
"""Of the clip norm: how far a float64 sum of 2^18 clipped gradients can be from the exact one.

Adding n numbers one by one errs by at most (n - 1) u times the sum of their absolute values, with
u = 2^-53 (Higham 2002, section 4.2); each gradient's norm is at most C, so that the vectors' error
is at most n^2 u C.
"""
LARGEST_BATCH = 1 << 18

_DEVIATIONS = 64
"""So many standard deviations of a share fit beside the signal; beyond, 2^-2900 is the chance."""


def fraction_bits(settings: PrivacySettings, dimension: int) -> int:
    """f, so that sqrt(d) gamma is at most the agreed part of the clip norm."""
    step = rounding_step(settings.clip_norm, dimension, settings.distributed.rounding)
    return math.ceil(math.log2(settings.expected_batch / step))


def sum_sensitivity(settings: PrivacySettings, dimension: int) -> Sensitivity:
    """How far one unit moves a member's integers."""
    bits = fraction_bits(settings, dimension)
    step = settings.expected_batch / 2.0**bits
    error = _SUMMATION * settings.clip_norm
    return rounded_sum(settings.clip_norm, step, dimension, error)


def check_room(limit: float, bits: int, share_deviation: float) -> None:
    """Refuse a format without room for a noise share beside the signal.

    Args:
        limit: Largest coordinate of a change, half of which is the signal's.
        bits: f.
        share_deviation: Standard deviation of a share, in integer units.

    Raises:
        ConfigError: If there is none.
    """
    if _DEVIATIONS * share_deviation > limit / 2 * 2.0**bits:
        raise ConfigError(
            "secure.limit: too small for the noise; take a larger limit, or more epsilon"
        )


def gradient_integers(
    clipped: DoubleVector, settings: PrivacySettings, limit: float
) -> Int64Vector:
    """Minus the mean gradient in multiples of 2^-f, int64 [d].

    A coordinate beyond half the limit is cut, which moves no two sums further apart.

    Args:
        clipped: Sum of clipped gradients, float64 [d].
        settings: Clip norm, batch size and rounding.
        limit: Largest coordinate of a change.
    """
    bits = fraction_bits(settings, len(clipped))
    change = np.clip(clipped / -settings.expected_batch, -limit / 2, limit / 2)
    return np.rint(np.ldexp(change, bits)).astype(np.int64)
