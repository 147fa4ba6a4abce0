"""Sensitivity of a sum of integers: the largest change by one unit, after scaling and rounding.

A member divides its real sum by the step gamma and rounds each coordinate to the nearest integer.
For any two data sets that differ in one unit the integers differ by at most C / gamma + sqrt(d) in
Euclidean norm: rounding moves each coordinate of either sum by at most 1/2
(docs/explanation/privacy-distributed.md has the proof, and what floating point adds).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from securefl.errors import ConfigError


@dataclass(frozen=True)
class Sensitivity:
    """Bounds on the change of an integer vector when one unit is added or removed.

    Attributes:
        l2: Euclidean norm, in integer units.
        dimension: Coordinates of the vector.
    """

    l2: float
    dimension: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.l2) and self.l2 > 0 and self.dimension >= 1):
            raise ConfigError(f"invalid sensitivity: {self.l2:g} in {self.dimension} dimensions")

    @property
    def l1(self) -> float:
        """Sum of absolute values: at most sqrt(d) l2, and at most l2^2, as |k| <= k^2."""
        return min(math.sqrt(self.dimension) * self.l2, self.l2**2)


def rounding_step(clip_norm: float, dimension: int, inflation: float = 2e-3) -> float:
    """Return the step gamma for which rounding inflates the sensitivity by 1 + `inflation`.

    gamma = inflation C / sqrt(d), from the bound C / gamma + sqrt(d) of `rounded_sum`.

    Args:
        clip_norm: C.
        dimension: d.
        inflation: sqrt(d) as a part of C / gamma.

    Raises:
        ConfigError: If a number is not positive.
    """
    if not (clip_norm > 0 and dimension >= 1 and inflation > 0):
        raise ConfigError("clip norm, dimension and inflation are positive")
    return inflation * clip_norm / math.sqrt(dimension)


def rounded_sum(clip_norm: float, step: float, dimension: int, error: float = 0.0) -> Sensitivity:
    """Return the sensitivity of a sum of clipped vectors that is divided by `step` and rounded.

    (C + 2 E) / gamma + sqrt(d): docs/explanation/privacy-distributed.md, "Sensitivity under
    rounding".

    Args:
        clip_norm: C, the largest norm of a unit's contribution.
        step: gamma.
        dimension: d.
        error: E, how far the computed sum can be from the real one, in Euclidean norm and in the
            units of C: what floating point summation adds. It counts twice, for both data sets.
    """
    return Sensitivity((clip_norm + 2 * error) / step + math.sqrt(dimension), dimension)


def rounded_member(clip_norm: float, step: float, dimension: int) -> Sensitivity:
    """Return the sensitivity where a member is the unit and coordinates round to the nearest.

    C / gamma + sqrt(d) / 2, half of `rounded_sum`'s term, since zero in the update's place rounds
    exactly (docs/explanation/privacy-distributed.md, "A whole member as the unit").

    Args:
        clip_norm: C, the largest norm of a member's update.
        step: gamma.
        dimension: Coordinates that are rounded, those of the padding included.
    """
    return Sensitivity(clip_norm / step + math.sqrt(dimension) / 2, dimension)


def randomly_rounded_member(
    clip_norm: float, step: float, dimension: int, bias: float
) -> Sensitivity:
    """Return the same where coordinates are rounded at random to one of their neighbours.

    Rounding again until the norm is at most this takes 1 / (1 - bias) attempts at most, on average
    (conditional rounding: Kairouz, Liu and Steinke 2021, theorem 1).

    Args:
        clip_norm: C.
        step: gamma.
        dimension: Coordinates that are rounded.
        bias: beta in (0, 1), largest probability of an attempt to fail.
    """
    scaled = clip_norm / step
    spread = math.sqrt(2 * math.log(1 / bias)) * (scaled + math.sqrt(dimension) / 2)
    likely = math.sqrt(scaled**2 + dimension / 4 + spread)
    return Sensitivity(min(likely, scaled + math.sqrt(dimension)), dimension)
