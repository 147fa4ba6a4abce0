"""Noise against dropouts that did not happen, taken back (Jiang et al. 2024, Dordis: XNoise).

Shares are sized for the fewest survivors, t. If more survive, the sum has more noise than was
asked for. So a member adds its share in layers, each drawn from a key of its own. Layer 0 is
enough if nobody drops out, layers 0..k if k do. Once the survivors are agreed and k of n members
are missing, each survivor reveals the keys of its layers beyond k, and everybody can subtract
them. What stays in the sum of the survivors that do not collude has the variance that was priced,
whatever k is.

A survivor that reveals nothing leaves noise in the sum and no privacy at stake. The keys are those
of a `NoiseChain`, which a session carries; a member that adds other noise than its keys make spoils
the sum, as any input can.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from securefl.errors import ConfigError
from securefl.privacy.noise.shares import IntegerLaw, honest_shares
from securefl_protocols.noise.discrete_gaussian import DiscreteGaussian
from securefl_protocols.noise.layers import NoiseChain
from securefl_protocols.noise.skellam import Skellam
from securefl_protocols.noise.words import Int64Vector, UniformWords
from securefl_protocols.primitives.errors import LocalProtocolError

LEAST_LAYER = 16
"""Discrete Gaussians that wide add up to one law within exp(-150) a layer and coordinate."""


@dataclass(frozen=True)
class LayerPlan:
    """The layers of every member's share; public.

    Attributes:
        law: Of each layer.
        target: Variance that the honest survivors' noise has to have, in squared integer units.
        members: n.
        threshold: t, the fewest survivors.
        colluding: n_C.

    Raises:
        ConfigError: If the numbers leave no honest member, or a layer has less than
            `LEAST_LAYER` of variance.
    """

    law: IntegerLaw
    target: int
    members: int
    threshold: int
    colluding: int

    def __post_init__(self) -> None:
        honest_shares(self.members, self.threshold, self.colluding)
        if min(self.layers) < LEAST_LAYER:
            raise ConfigError("the noise is too small to be cut into layers")

    @property
    def removable(self) -> int:
        """How many layers can be taken back."""
        return self.members - self.threshold

    @property
    def layers(self) -> tuple[int, ...]:
        """Variance of layer 0, 1, ..., n - t of a member."""
        totals = [self.share_variance(k) for k in range(self.removable + 1)]
        return (totals[0], *(b - a for a, b in pairwise(totals)))

    def share_variance(self, dropped: int) -> int:
        """What stays of a member's share if so many members are missing: layers 0..dropped."""
        return -(-self.target // (self.members - dropped - self.colluding))

    def samplers(self) -> tuple[DiscreteGaussian | Skellam, ...]:
        """One sampler a layer."""
        law = DiscreteGaussian if self.law == "discrete-gaussian" else Skellam
        return tuple(law(variance) for variance in self.layers)


class LayeredSampler:
    """Draws shares in layers, and the layers that are taken back; an object serves one thread.

    Args:
        plan: The layers.
    """

    def __init__(self, plan: LayerPlan) -> None:
        self._plan = plan
        self._samplers = plan.samplers()

    def share(self, chain: NoiseChain, dimension: int) -> Int64Vector:
        """A member's share of a round, all layers together: int64 [dimension]."""
        return self._sum(chain.keys(), dimension)

    def excess(self, opened: Iterable[Sequence[bytes]], dimension: int) -> Int64Vector:
        """What is subtracted from a sum: int64 [dimension].

        Args:
            opened: Of each member that revealed some, the keys of its last layers.
            dimension: d.

        Raises:
            LocalProtocolError: If there are more keys than layers beyond the first.
        """
        total = np.zeros(dimension, dtype=np.int64)
        for keys in opened:
            if len(keys) > self._plan.removable:
                raise LocalProtocolError("the first layer is never taken back")
            total += self._sum(keys, dimension)
        return total

    def _sum(self, keys: Sequence[bytes], dimension: int) -> Int64Vector:
        """The layers of these keys, the last one that of the last key."""
        total = np.zeros(dimension, dtype=np.int64)
        layer = np.empty(dimension, dtype=np.int64)
        last = self._samplers[len(self._samplers) - len(keys) :]
        for sampler, key in zip(last, keys, strict=True):
            sampler.fill(UniformWords(key), layer)
            total += layer
        return total


@lru_cache(maxsize=2)
def layered_sampler(plan: LayerPlan) -> LayeredSampler:
    """The sampler of a plan; its tables take longer to make than to use."""
    return LayeredSampler(plan)
