"""A ballot under shared noise: from a member's noised projection and what everybody sees.

The mean change of a round is released. Its length is that of the members' mean signal and of noise
whose size is public, so that the signal's length S is public too: S^2 = |c|^2 - d s^2. Over all
members, the projections of their own parts on the change average to S^2 where all are honest, since
the change is the mean of the parts; a part that was scaled, turned round or replaced makes S large
and leaves the honest ones behind. So a member's ballot compares its own projection with S^2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from securefl.config.schema import RunConfig
from securefl.config.vote import VoteSettings
from securefl.federation.scores.judgement import ACCEPT, DIRECTION
from securefl.ml.vectors import FloatVector
from securefl.privacy.mechanisms import mechanism_for

_TOO_NOISY: Final = 0.5
"""Deviation of the noise in a member's share of the signal beyond which it abstains, uncharged."""
_SHORTER: Final = 1 - 1e-9
"""A direction is at most as long as 1, also after rounding."""


@dataclass(frozen=True)
class PublicChange:
    """A round's mean change, as all parties see it.

    Attributes:
        direction: At most as long as 1, float64 [d].
        length: |c|, in units of a member's own update.
        signal: S^2, likewise squared; not above 0 where noise is all that there is.
    """

    direction: npt.NDArray[np.float64]
    length: float
    signal: float

    @classmethod
    def of(
        cls,
        config: RunConfig,
        members: int,
        survivors: int,
        began: FloatVector,
        ended: FloatVector,
    ) -> Self | None:
        """Return a round's change; None where the model did not move, or is not finite.

        Args:
            config: The run's configuration, with shared noise and an optimizer that adds the mean.
            members: Members in the roster.
            survivors: Members in the sum. Fewer have less noise in it, and more in the mean: taken
                for all, noise would pass for a signal that no honest member has a share of.
            began: The model before, float32 [d].
            ended: The model after, float32 [d].
        """
        change = (ended.astype(np.float64) - began) / config.server.learning_rate
        length = float(np.linalg.norm(change))
        if not length or not math.isfinite(length):
            return None
        mechanism = mechanism_for(config.privacy)
        summed = mechanism.summed_deviation(config, members, len(change), survivors)
        noise = summed / config.privacy.expected_batch / survivors
        return cls(change / length * _SHORTER, length, length**2 - len(change) * noise**2)

    def share(self, projection: float, bits: int) -> float:
        """Return a member's share of the signal: 1 for the average of honest members.

        Args:
            projection: Of its own part on the direction, noised or not, in integer steps.
            bits: A step is 2^-bits of the change of a parameter.
        """
        return math.ldexp(projection, -bits) * self.length / self.signal

    def tells(self, deviation: float, bits: int) -> bool:
        """Return whether a projection with noise of this deviation says enough to be paid for."""
        return self.signal > 0 and self.share(deviation, bits) <= _TOO_NOISY


def noised_ballot(settings: VoteSettings, change: PublicChange, noised: int, bits: int) -> str:
    """Return the ballot that follows from a noised projection; see `PublicChange.share`.

    Half of what was agreed is enough: sums are not weighted by samples here, so that an honest
    retailer with fewer customers than others has less of the change, and noise comes on top.
    """
    return DIRECTION if change.share(noised, bits) < settings.direction / 2 else ACCEPT
