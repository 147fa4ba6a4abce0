"""Rounds under distributed differential privacy: integers with a noise share, for a masked sum.

A round releases one thing: what the member sums up, rounded to integers, plus its own share of
integer noise. That is handed over to be masked, and nothing else. No share is enough by itself: the
shares of all honest survivors together are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn

from securefl.federation.member.updates.release_cache import ReleaseCache
from securefl.federation.member.updates.run_account import RunAccount
from securefl.federation.member.updates.run_budget import RunBudget
from securefl.ml.parameters import shared_vector
from securefl.privacy.accounting.spent import Spending
from securefl.privacy.distributed_plan import DistributedPlan
from securefl.privacy.encoding.gradients import DoubleVector
from securefl.privacy.noise.csprng import AesCtrRng, member_stream
from securefl.privacy.noise.torch_rng import seed_torch_rng
from securefl.privacy.noise.xnoise import layered_sampler
from securefl.privacy.round_updates import Charges, RoundChange
from securefl.tasks.common.learner import LocalProblem
from securefl_protocols.noise.discrete_gaussian import DiscreteGaussian
from securefl_protocols.noise.layers import NoiseChain, UnopenableLayers
from securefl_protocols.noise.skellam import Skellam
from securefl_protocols.noise.words import Words

RELEASE = "share.safetensors"


class DistributedUpdates(ABC):
    """One member's side of training under distributed differential privacy.

    Args:
        learner: The member's data, task and configuration.
        model: Its shared parameters begin as the coordinator sent them.
        directory: Where the member keeps the share that it handed over last.
        charges: Where a round's price is written down before the data are touched.
        members: Members in the roster.

    Raises:
        ConfigError: If no honest member is left in a sum.
    """

    weight = 1
    """The same for every member: a sample count is a fact about customers, and not released."""
    optimizer: torch.optim.Optimizer | None = None

    def __init__(
        self,
        learner: LocalProblem,
        model: nn.Module,
        directory: Path,
        charges: Charges,
        members: int,
    ) -> None:
        self.plan = DistributedPlan.of(learner.config, members, len(shared_vector(model)))
        self.learner = learner
        self.model = model
        self._budget = RunBudget(self.plan.base, charges)
        self._releases = ReleaseCache(directory / RELEASE, "share")

    @abstractmethod
    def integers(self, number: int, stream: AesCtrRng, account: RunAccount) -> Words:
        """Return what the member adds to the sum of a round, but for the noise: int64 [coordinates]."""

    def train(self, number: int) -> RoundChange:
        """Return what a round adds to the sum, noise included, in multiples of the agreed step.

        The loss is 0, whatever it was: it is a fact about customers, and not released.

        Raises:
            RefusedError: If nothing is left of the budget, or of the member's cap; nothing was
                trained.
        """
        start = shared_vector(self.model)
        kept = self._releases.get(number, start)
        if kept is not None:
            share, anchor = kept
            # What opens the layers is in no file: whoever was restarted takes nothing back.
            forgotten = UnopenableLayers(bytes.fromhex(anchor)) if anchor else None
            return RoundChange(share, 0.0, forgotten)
        share, layers = self._share(number)
        self._releases.put(number, start, share, layers.anchor.hex() if layers else "")
        return RoundChange(share, 0.0, layers)

    def spending(self) -> Spending:
        """Return what the member has spent so far."""
        return self._budget.spending()

    def _share(self, number: int) -> tuple[DoubleVector, NoiseChain | None]:
        stream = member_stream(self.plan.base.settings, self.learner.data.name, number)
        seed_torch_rng(stream)
        account = self._budget.account(stream.description)
        account.charge(self.plan.event)
        total = self.integers(number, stream, account)
        noise, layers = self._noise(stream)
        total += noise
        share: DoubleVector = np.ldexp(total.astype(np.float64), -self.plan.code.bits)
        return share, layers

    def _noise(self, stream: AesCtrRng) -> tuple[Words, NoiseChain | None]:
        """Return a share, in one piece or in layers that can be opened."""
        count, layers = self.plan.code.coordinates, self.plan.layers
        if layers is None:
            share = np.empty(count, dtype=np.int64)
            self._sampler.fill(stream, share)
            return share, None
        chain = NoiseChain(stream.words(4).tobytes(), layers.removable)
        return layered_sampler(layers).share(chain, count), chain

    @cached_property
    def _sampler(self) -> DiscreteGaussian | Skellam:
        """Of every round's share; its tables take longer to make than to use."""
        return self.plan.noise.sampler()
