"""XNoise: removal of the noise that was added for dropouts which did not happen.

The construction is that of Jiang et al. 2024 (Dordis), with colluders. Shares are sized for the
fewest survivors, t. If more survive, the sum has more noise than required. So a member adds its
share in layers, each drawn from a key of its own. Layer 0 is enough if no member drops out, layers
0..k if k do. Once the survivors are agreed and k of n members are missing, each survivor reveals
the keys of its layers beyond k, and every party can subtract them. What remains in the sum of the
survivors that do not collude has the variance that was accounted for, whatever k is.

A survivor that reveals nothing leaves noise in the sum, which costs accuracy alone. The keys are
those of a `NoiseChain`, which a session carries; a member that adds other noise than its keys
generate spoils the sum, as any input can.
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
"""Least variance: discrete Gaussians so wide add up to one within exp(-150) a coordinate."""


@dataclass(frozen=True)
class LayerPlan:
    """The layers of every member's share; public.

    Attributes:
        law: The distribution of each layer.
        target: Required variance of the honest survivors' noise, in squared integer units.
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
        """Number of layers that can be removed: n - t."""
        return self.members - self.threshold

    @property
    def layers(self) -> tuple[int, ...]:
        """Variance of layer 0, 1, ..., n - t of a member."""
        totals = [self.share_variance(k) for k in range(self.removable + 1)]
        return (totals[0], *(b - a for a, b in pairwise(totals)))

    def share_variance(self, dropped: int) -> int:
        """Return the variance of layers 0..`dropped`, which remain if so many members dropped out.

        target / (n - k - n_C), rounded up (Jiang et al. 2024, with n_C colluders).
        """
        return -(-self.target // (self.members - dropped - self.colluding))

    def samplers(self) -> tuple[DiscreteGaussian | Skellam, ...]:
        """Return one sampler a layer."""
        law = DiscreteGaussian if self.law == "discrete-gaussian" else Skellam
        return tuple(law(variance) for variance in self.layers)


class LayeredSampler:
    """Draws shares in layers, and the layers that are removed; an object serves one thread.

    Args:
        plan: The layers.
    """

    def __init__(self, plan: LayerPlan) -> None:
        self._plan = plan
        self._samplers = plan.samplers()

    def share(self, chain: NoiseChain, dimension: int) -> Int64Vector:
        """Return a member's share of a round, the sum of all layers: int64 [dimension]."""
        return self._sum(chain.keys(), dimension)

    def excess(self, opened: Iterable[Sequence[bytes]], dimension: int) -> Int64Vector:
        """Return the excess noise to subtract from a sum: int64 [dimension].

        Args:
            opened: For each member that revealed some, the keys of its last layers.
            dimension: d.

        Raises:
            LocalProtocolError: If there are more keys than layers beyond the first.
        """
        total = np.zeros(dimension, dtype=np.int64)
        for keys in opened:
            # Layer 0 is the noise that epsilon rests on, also where every member survives.
            if len(keys) > self._plan.removable:
                raise LocalProtocolError("the first layer is never taken back")
            total += self._sum(keys, dimension)
        return total

    def _sum(self, keys: Sequence[bytes], dimension: int) -> Int64Vector:
        """Return the sum of the last layers, one a key and in the order of the keys."""
        total = np.zeros(dimension, dtype=np.int64)
        layer = np.empty(dimension, dtype=np.int64)
        last = self._samplers[len(self._samplers) - len(keys) :]
        for sampler, key in zip(last, keys, strict=True):
            sampler.fill(UniformWords(key), layer)
            total += layer
        return total


@lru_cache(maxsize=2)
def layered_sampler(plan: LayerPlan) -> LayeredSampler:
    """Return the sampler of a plan, cached: its tables take longer to build than to use."""
    return LayeredSampler(plan)
