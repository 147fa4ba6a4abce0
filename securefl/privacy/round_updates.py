"""What a mechanism and the member that it protects have to know of each other.

A mechanism decides what a member does in a round; how training, files and the ledger work is the
member's. `MemberContext` is what the member offers, `RoundTraining` what it gets back. Both are
here, below the tasks and the federation, so that a mechanism's own file needs neither.
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

if TYPE_CHECKING:  # what asks a mechanism about settings alone does not wait for torch or Opacus
    import torch

    from securefl.config.schema import RunConfig
    from securefl.ml.parameters import UpdateVector
    from securefl.privacy.accounting.accountant import PrivacyAccountant
    from securefl.privacy.noise.csprng import AesCtrRng


class Charges(Protocol):
    """Where private training has its price written down before it begins."""

    def charged(self) -> Sequence[PrivacyEvent]:
        """What this run was charged so far, also by a process that was killed."""

    def charge(self, event: PrivacyEvent, *, clip_norm: float, rng: str) -> None:
        """Make an event durable, or raise."""


@dataclass(frozen=True)
class RoundChange:
    """What a member's training in a round gave.

    Attributes:
        change: Of the shared parameters, float32 [d]; float64 where it is integers with noise.
        loss: Mean training loss; 0 where it would be a release of its own.
        layers: Of the noise in the change, where some of it may be taken back.
    """

    change: UpdateVector
    loss: float
    layers: NoiseLayers | None = None


class RoundTraining(Protocol):
    """Trains a member's model in place, one round after the other."""

    @property
    def weight(self) -> int:
        """How much the member's change counts in the mean."""

    @property
    def optimizer(self) -> torch.optim.Optimizer | None:
        """Whose state belongs to the member's checkpoint."""

    def train(self, number: int) -> RoundChange:
        """Train a round from the model's present state."""

    def spending(self) -> Spending | None:
        """What was spent of the budget; None without one."""


class Budget(Protocol):
    """What a run's budget still allows a member."""

    def noise_multiplier(self, number: int) -> float:
        """The noise of round `number` and of those after it, from what is left."""

    def account(self, rng: str) -> PrivacyAccountant:
        """The account that the next round is charged to, before the data are touched."""

    def spending(self) -> Spending:
        """What the member has spent so far."""


class ReleaseStore(Protocol):
    """A member's last release, so that a round that is tried again is neither noised nor paid anew.

    Two releases of one update under fresh noise would cost twice.
    """

    def get(self, number: int, start: npt.NDArray[np.float32]) -> tuple[UpdateVector, str] | None:
        """The release of round `number` from the model `start`, and its note; None without one."""

    def put(
        self,
        number: int,
        start: npt.NDArray[np.float32],
        release: UpdateVector,
        note: str = "",
    ) -> None:
        """Make a release durable, before it leaves."""


class MemberContext(Protocol):
    """What a member offers to the mechanism that protects it.

    The first four are the ways to make an update that every member knows; the rest is for a
    mechanism with one of its own.
    """

    @property
    def config(self) -> RunConfig:
        """The run's configuration."""

    def fedavg(self) -> RoundTraining:
        """Plain local training, weighted by sample count; nothing is hidden."""

    def local_dp(self) -> RoundTraining:
        """Noise in each step's gradients, or in the series that all steps see."""

    def gradient_sums(self) -> RoundTraining:
        """One clipped sum of gradients as integers, with a share of the noise."""

    def client_level(self) -> RoundTraining:
        """The whole update as integers, with a share of the noise."""

    def shared(self) -> npt.NDArray[np.float32]:
        """The model's shared parameters now, float32 [d]."""

    def budget(self) -> Budget:
        """The member's budget in this run."""

    def releases(self) -> ReleaseStore:
        """The member's last release."""

    def stream(self, number: int) -> AesCtrRng:
        """The member's own randomness of round `number`."""
