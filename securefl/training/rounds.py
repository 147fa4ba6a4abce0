"""What a member does in a round, plain or private, as the rest of it sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from securefl.models.locality import shared_vector
from securefl.privacy.spending import Spending
from securefl.training.learner import Learner
from securefl_protocols.noise_layers import NoiseLayers

if TYPE_CHECKING:  # Opacus takes seconds to import, and only a budget needs it
    from securefl.privacy.events import PrivacyEvent


UpdateVector = npt.NDArray[np.float32] | npt.NDArray[np.float64]


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
        loss: Mean training loss, where it may be told.
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


class PlainRounds:
    """Plain local training, weighted by sample count."""

    def __init__(self, learner: Learner, model: nn.Module) -> None:
        self.weight = learner.data.samples
        self._learner = learner
        self._model = model
        self._trainer = learner.trainer(model, learner.config.training)

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """See `RoundTraining`."""
        return self._trainer.optimizer

    def train(self, number: int) -> RoundChange:
        """See `RoundTraining`."""
        start = shared_vector(self._model)
        loss = self._trainer.train(self._learner.seed("train", number), self._learner.units(number))
        return RoundChange(shared_vector(self._model) - start, loss)

    def spending(self) -> None:
        """See `RoundTraining`."""


def round_training(
    learner: Learner, model: nn.Module, directory: Path, charges: Charges, members: int
) -> RoundTraining:
    """The training that the configuration asks for.

    Args:
        learner: The member's data, task and configuration.
        model: What is trained, in place.
        directory: Where the member keeps its files of this run.
        charges: Where the price of private training is written down.
        members: Members in the roster.

    Raises:
        InputError: If the member's data cannot be protected as the configuration says.
    """
    if learner.config.privacy.dp == "none":
        return PlainRounds(learner, model)
    # Opacus takes seconds to import, and a run without a budget has no use for it.
    if learner.config.privacy.dp == "local":
        private = import_module("securefl.training.private")
        training: RoundTraining = private.PrivateRounds(learner, model, directory, charges)
    elif learner.config.privacy.unit == "member":
        whole = import_module("securefl.training.whole_updates")
        training = whole.WholeUpdateRounds(learner, model, directory, charges, members)
    else:
        summed = import_module("securefl.training.summed_gradients")
        training = summed.GradientRounds(learner, model, directory, charges, members)
    return training
