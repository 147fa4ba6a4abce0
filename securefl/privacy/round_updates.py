"""The interface between a mechanism and the member that it protects.

A mechanism decides how a member trains in a round; training, files and the ledger themselves
belong to the member. `MemberContext` is what the member provides, `RoundTraining` what it receives.
Both are here, below the tasks and the federation, so that a mechanism's own file needs neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from securefl.privacy.accounting.events import PrivacyEvent
from securefl.privacy.accounting.spent import Spending
from securefl_protocols.noise.layers import NoiseLayers

if TYPE_CHECKING:  # mechanisms are also used for settings alone, without torch or Opacus
    import torch

    from securefl.config.schema import RunConfig
    from securefl.ml.vectors import UpdateVector
    from securefl.privacy.accounting.accountant import PrivacyAccountant
    from securefl.privacy.noise.csprng import AesCtrRng


class Charges(Protocol):
    """The record of charges, to which private training writes before it begins."""

    def charged(self) -> Sequence[PrivacyEvent]:
        """Return the events charged to this run so far, also by a process that was killed."""

    def charge(self, event: PrivacyEvent, *, clip_norm: float, rng: str) -> None:
        """Make an event durable, or raise."""


@dataclass(frozen=True)
class RoundChange:
    """The result of a member's training in a round.

    Attributes:
        change: Of the shared parameters, float32 [d]; float64 where it is integers with noise.
        loss: Mean training loss; 0 where it would be a release of its own.
        layers: Of the noise in the change, where excess noise may be removed.
    """

    change: UpdateVector
    loss: float
    layers: NoiseLayers | None = None


class RoundTraining(Protocol):
    """Trains a member's model in place, one round after the other."""

    @property
    def weight(self) -> int:
        """The weight of the member's change in the mean."""

    @property
    def optimizer(self) -> torch.optim.Optimizer | None:
        """The optimizer whose state belongs to the member's checkpoint, if there is one."""

    def train(self, number: int) -> RoundChange:
        """Train a round from the model's present state."""

    def spending(self) -> Spending | None:
        """Return what was spent of the budget; None without a budget."""


class Budget(Protocol):
    """A member's remaining budget in a run."""

    def noise_multiplier(self, number: int) -> float:
        """Return the noise of round `number` and of those after it, from what is left."""

    def account(self, rng: str) -> PrivacyAccountant:
        """Return the accountant that is charged for the next round before the data are touched."""

    def spending(self) -> Spending:
        """Return what the member has spent so far."""


class ReleaseStore(Protocol):
    """A member's last release, so that a retried round is neither noised nor charged again.

    Two releases of one update under fresh noise would cost twice.
    """

    def get(self, number: int, start: npt.NDArray[np.float32]) -> tuple[UpdateVector, str] | None:
        """Return the release and note of round `number` from the model `start`, or None."""

    def put(
        self,
        number: int,
        start: npt.NDArray[np.float32],
        release: UpdateVector,
        note: str = "",
    ) -> None:
        """Make a release durable, before it leaves."""


class MemberContext(Protocol):
    """What a member provides to the mechanism that protects it.

    The first four are the built-in ways to make an update; the rest is for mechanisms that bring
    their own.
    """

    @property
    def config(self) -> RunConfig:
        """The run's configuration."""

    def fedavg(self) -> RoundTraining:
        """Return plain local training, weighted by sample count, without protection."""

    def local_dp(self) -> RoundTraining:
        """Return training with noise in each step's gradients, or in the series it trains on."""

    def gradient_sums(self) -> RoundTraining:
        """Return training to one clipped sum of gradients, as integers with a noise share."""

    def client_level(self) -> RoundTraining:
        """Return training to a whole update, as integers with a noise share."""

    def shared(self) -> npt.NDArray[np.float32]:
        """Return the model's present shared parameters, float32 [d]."""

    def budget(self) -> Budget:
        """Return the member's budget in this run."""

    def releases(self) -> ReleaseStore:
        """Return the store of the member's last release."""

    def stream(self, number: int) -> AesCtrRng:
        """Return the member's own CSPRNG of round `number`."""
