"""Rounds under distributed differential privacy: integers with a noise share, for a masked sum.

A round releases one thing: the member's sum, rounded to integers, plus its own share of integer
noise. Only that is masked and sent. No single share gives enough noise for the guarantee; the
shares of all honest survivors together do.
"""

from __future__ import annotations

import math
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
from securefl_protocols.noise.words import Int64Vector

RELEASE = "share.safetensors"


class DistributedUpdates(ABC):
    """One member's side of training under distributed differential privacy.

    Args:
        learner: The member's data, task and configuration.
        model: Its shared parameters begin as the coordinator sent them.
        directory: The folder of the share that was released last.
        charges: The ledger's account; a round is charged before its data are used.
        members: Number of members in the roster.

    Raises:
        ConfigError: If no honest member is left in a sum.
    """

    weight = 1
    """The same for every member: a sample count depends on customers, and is not released."""
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
        self._clean: tuple[int, Int64Vector] | None = None

    @abstractmethod
    def integers(self, number: int, stream: AesCtrRng, account: RunAccount) -> Int64Vector:
        """Return the member's part of the sum of a round, without noise, int64 [coordinates]."""

    def train(self, number: int) -> RoundChange:
        """Return the member's part of the sum of a round, with noise, in multiples of the step.

        The loss is always 0: it depends on customers, and is not released.

        Raises:
            RefusedError: If nothing is left of the budget, or of the member's cap; nothing was
                trained.
        """
        start = shared_vector(self.model)
        kept = self._releases.get(number, start)
        if kept is not None:
            share, anchor = kept
            # The keys of the layers are in no file, so a restarted member opens none of them. The
            # sum keeps that member's excess noise, which costs accuracy and no privacy.
            unopenable = UnopenableLayers(bytes.fromhex(anchor)) if anchor else None
            return RoundChange(share, 0.0, unopenable)
        share, layers = self._share(number)
        # Durable before it leaves: made again after a kill, it would be a second release.
        self._releases.put(number, start, share, layers.anchor.hex() if layers else "")
        return RoundChange(share, 0.0, layers)

    def spending(self) -> Spending:
        """Return what the member has spent so far."""
        return self._budget.spending()

    def remembers(self, number: int) -> bool:
        """Return whether the sum of a round without noise is here still, for `projection`."""
        return self._clean is not None and self._clean[0] == number

    def projection(self, direction: DoubleVector, shift: int) -> int:
        """Return the member's last sum, without noise, along a direction.

        Rounded. A private number: what asks for it adds noise and pays for it first.

        Args:
            direction: At most as long as 1, float64 [coordinates].
            shift: The number is in steps that are 2^shift of those of the sum.

        Raises:
            ValueError: If the sum is not remembered; a restart forgets it.
        """
        if self._clean is None:
            raise ValueError("no sum is remembered")
        return round(math.ldexp(float(self._clean[1].astype(np.float64) @ direction), -shift))

    def _share(self, number: int) -> tuple[DoubleVector, NoiseChain | None]:
        stream = member_stream(self.plan.base.settings, self.learner.data.name, number)
        seed_torch_rng(stream)
        account = self._budget.account(stream.description)
        # Charge before use: a kill after this line can waste budget, and never overspend it.
        account.charge(self.plan.event)
        total = self.integers(number, stream, account)
        self._clean = number, total.copy()
        noise, layers = self._noise(stream)
        total += noise
        share: DoubleVector = np.ldexp(total.astype(np.float64), -self.plan.code.bits)
        return share, layers

    def _noise(self, stream: AesCtrRng) -> tuple[Int64Vector, NoiseChain | None]:
        """Return a noise share, int64 [coordinates], and its layers where it has some."""
        count, layers = self.plan.code.coordinates, self.plan.layers
        if layers is None:
            share = np.empty(count, dtype=np.int64)
            self._sampler.fill(stream, share)
            return share, None
        chain = NoiseChain(stream.words(4).tobytes(), layers.removable)
        return layered_sampler(layers).share(chain, count), chain

    @cached_property
    def _sampler(self) -> DiscreteGaussian | Skellam:
        """The sampler of all rounds' shares; its tables take longer to build than to use."""
        return self.plan.noise.sampler()
