"""Poisson sampling of privacy units: each is in a step's batch independently of all others.

The rate, the number of steps and the denominator are public constants, fixed before the data are
read; the size of a batch is private data, and is used nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from securefl.privacy.noise.csprng import AesCtrRng


@dataclass(frozen=True)
class SamplingPlan:
    """The public constants of the sampling.

    Attributes:
        rate: Probability q of a unit to be in a step's batch, in (0, 1].
        steps: Steps of one round, given and never derived from 1/q: `int(1 / (1 / n))` is not n.
        expected_batch: q times the public number of units: the denominator of every mean.

    Raises:
        ValueError: If a value is out of range.
    """

    rate: float
    steps: int
    expected_batch: float

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1:
            raise ValueError(f"the sampling rate is {self.rate}, not in (0, 1]")
        if self.steps < 1:
            raise ValueError(f"a round has {self.steps} steps, not at least 1")
        if not (self.expected_batch > 0 and math.isfinite(self.expected_batch)):
            raise ValueError(f"the expected batch is {self.expected_batch}, not positive")

    @classmethod
    def of_batch(cls, *, units: int, batch: int, epochs: int) -> SamplingPlan:
        """Return the plan with an expected batch of `batch` out of `units`, for `epochs` passes.

        `units` is published by using it: pass an agreed bound or a noised count where the size of
        the data set itself is private.

        Raises:
            ValueError: If any of the three is not positive.
        """
        if units < 1 or batch < 1 or epochs < 1:
            raise ValueError(f"units {units}, batch {batch}, epochs {epochs}: all must be positive")
        expected = min(batch, units)
        steps = -(-epochs * units // expected)
        return cls(rate=expected / units, steps=steps, expected_batch=float(expected))


class PoissonSampler:
    """Draws the batches of one member (Mironov, Talwar and Zhang 2019, section 3).

    A unit is in a batch if its 64-bit word, read as an unsigned integer, is below floor(q * 2^64).
    A float q is a multiple of a power of two, so the product is exact; the probability is q rounded
    down to a multiple of 2^-64, never above the q that is accounted for.

    Args:
        plan: Rate and steps.
        units: Number of units that the member has, N.
        stream: Source of the random words.
    """

    name = "poisson"

    def __init__(self, plan: SamplingPlan, units: int, stream: AesCtrRng) -> None:
        self.plan = plan
        self.units = units
        self._stream = stream
        self._threshold = int(math.ldexp(plan.rate, 64))

    def batch(self) -> Tensor:
        """Return indices of one step's units, int64 [b] ascending; b may be 0."""
        # One word a unit in every step, at every rate: the stream does not depend on the draws.
        words = self._stream.words(self.units).view(np.uint64)
        if self._threshold == 2**64:
            return torch.arange(self.units)
        chosen = np.flatnonzero(words < np.uint64(self._threshold))
        return torch.from_numpy(chosen.astype(np.int64, copy=False))

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the batches of one round, one a step."""
        for _ in range(self.plan.steps):
            yield self.batch()
