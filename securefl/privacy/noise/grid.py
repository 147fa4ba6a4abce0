"""The Gaussian mechanism in integers: all noise that a member adds by itself comes from here.

Floating-point noise on a floating-point sum has holes: which values a sum plus noise can take
depends on the sum, so that the last bits of a release tell two data sets apart for certain (Mironov
2012, "On significance of the least significant bits for differential privacy"). Here a sum of
clipped contributions is rounded to a grid, an exact draw of integer noise is added, and only the
integer is used further; what floating point does to it afterwards is post-processing.

The price is that of a Gaussian: discrete Gaussian noise of variance v on integers is a continuous
Gaussian of variance v - s^2 with a rounding that does not depend on the data, up to a factor of
2^-99 a coordinate in the logarithm (`discrete_gaussian_bound`, with one share). What rounding and
summation add to the sensitivity is in v.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from securefl.errors import ConfigError
from securefl.privacy.accounting.discrete_gaussian_bound import log_factor, rounding_variance
from securefl.privacy.accounting.sensitivity import Sensitivity, rounded_sum, rounding_step
from securefl.privacy.noise.csprng import AesCtrRng
from securefl.privacy.noise.direct_tables import CHUNK, DirectTables

Float64 = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float64] | npt.NDArray[np.float32]

SUMMATION = 2.0**-10
"""Twice the largest error of a sum, as a part of the clip norm; the other half is room.

Adding K numbers in float64 errs by at most K u times the sum of their absolute values, with
u = 2^-53 (Higham 2002, section 4.2). Of each unit those are at most 8 C, terms that cancel within
it included; n units of T terms each thus err by 8 n^2 T u C: below 2^-11 C for n^2 T up to 2^39.
Of larger batches (`LARGEST_PLAIN_SUM`) the pieces of 128 units are added without further error, and
err by 8 * 128 n T u C = n T 2^-43 C together: below 2^-11 C for n T up to 2^32, which are 16
million units of 256 terms. With yet more it grows in proportion: no number of customers makes a
member refuse. What is left holds the 10^-6 C by which rounding may make one unit longer than C.
"""
LARGEST_PLAIN_SUM = 1 << 13
"""Units of a batch whose gradients are simply added; of more, pieces are (`CarriedSum`)."""

_INFLATION = 2e-3
"""How much rounding adds to the sensitivity, if the samplers can draw as much noise as it takes."""
_LARGEST_INFLATION = 0.1
_LARGEST_DEVIATION = 2.0**20
_FACTOR = 2.0**-100
"""What either part of the bound's factor may be, for a coordinate of a step.

Over 2^60 coordinates and steps, epsilon grows by 2^-38: far less than what `set_aside` keeps.
"""


@dataclass(frozen=True)
class Grid:
    """The public constants of releases of d coordinates.

    Attributes:
        step: gamma, a power of two, so that a division by it is exact.
        sensitivity: Largest change of the rounded sum by one unit, in steps.
        variance: v of the noise, in squared steps.
    """

    step: float
    sensitivity: Sensitivity
    variance: int

    @classmethod
    def of(cls, clip_norm: float, dimension: int, noise_multiplier: float) -> Grid:
        """Return the grid of a release.

        Args:
            clip_norm: C, the largest norm of a unit's contribution.
            dimension: d.
            noise_multiplier: sigma > 0.

        Raises:
            ConfigError: If more noise is needed than can be drawn exactly.
        """
        return _grid(float(clip_norm), int(dimension), float(noise_multiplier))

    @property
    def deviation(self) -> float:
        """Standard deviation of the noise, in the units of the clip norm."""
        return self.step * math.sqrt(self.variance)


@lru_cache(maxsize=64)
def _grid(clip_norm: float, dimension: int, noise_multiplier: float) -> Grid:
    if not (noise_multiplier > 0 and math.isfinite(noise_multiplier)):
        raise ConfigError(f"a noise multiplier of {noise_multiplier} is no noise")
    least = math.sqrt(dimension) * noise_multiplier / _LARGEST_DEVIATION
    inflation = max(_INFLATION, least)
    if inflation > _LARGEST_INFLATION:
        raise ConfigError(
            f"noise multiplier {noise_multiplier:g} on {dimension:,} coordinates is more than can"
            " be drawn exactly: take a smaller model or more epsilon"
        )
    finest = rounding_step(clip_norm, dimension, inflation)
    step = 2.0 ** math.floor(math.log2(finest))
    sensitivity = rounded_sum(clip_norm, step, dimension, SUMMATION * clip_norm)
    rounding = rounding_variance(_FACTOR)
    variance = math.ceil((noise_multiplier * sensitivity.l2) ** 2 + rounding)
    assert log_factor(variance, 1, rounding) <= 2 * _FACTOR
    return Grid(step, sensitivity, variance)


class GridNoise:
    """Releases of one member: sums, rounded and noised with its own CSPRNG.

    Args:
        stream: Source of the random bits.
    """

    def __init__(self, stream: AesCtrRng) -> None:
        self.stream = stream
        self._rounded = np.empty(CHUNK, dtype=np.float64)

    def release(self, total: Float64, grid: Grid, out: Floats, scale: float = 1.0) -> None:
        """Write `scale` times the noised sum into `out`; `total` stays secret.

        Args:
            total: The sum of clipped contributions, float64 [d].
            grid: Of the same clip norm and dimension.
            out: Float32 or float64 [d], contiguous; may be `total` itself.
            scale: A public factor.

        Raises:
            ValueError: If the grid is that of another number of coordinates.
        """
        if total.shape != (grid.sensitivity.dimension,) or out.shape != total.shape:
            raise ValueError(
                f"a grid of {grid.sensitivity.dimension} coordinates for {total.shape}"
            )
        sampler = _sampler(grid.variance, threading.get_ident())
        for start in range(0, total.size, CHUNK):
            piece = total[start : start + CHUNK]
            rounded = self._rounded[: piece.size]
            np.multiply(piece, 1 / grid.step, out=rounded)
            np.rint(rounded, out=rounded)
            # Both are whole numbers far below 2^53, and so is their sum: exact in float64.
            sampler.add_to(rounded, self.stream)
            np.multiply(
                rounded, scale * grid.step, out=out[start : start + CHUNK], casting="same_kind"
            )

    def noised(self, total: Float64, clip_norm: float, noise_multiplier: float) -> Float64:
        """Return a sum with noise, float64 of its shape, on the grid of its clip norm."""
        grid = Grid.of(clip_norm, total.size, noise_multiplier)
        out = np.array(total, dtype=np.float64).reshape(-1)
        self.release(out, grid, out)
        return out.reshape(total.shape)


@lru_cache(maxsize=16)
def _sampler(variance: int, thread: int) -> DirectTables:
    """Return the sampler of a variance: its tables take longer to make than a small release."""
    del thread  # of its own in each thread: a sampler has buffers
    return DirectTables(variance)
