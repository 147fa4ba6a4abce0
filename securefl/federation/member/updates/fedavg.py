"""Plain FedAvg: a member's local training, weighted by sample count."""

from __future__ import annotations

import torch
from torch import nn

from securefl.ml.parameters import shared_vector
from securefl.privacy.round_updates import RoundChange
from securefl.tasks.common.learner import LocalProblem


class FedAvgUpdates:
    """Plain local training, weighted by sample count."""

    def __init__(self, learner: LocalProblem, model: nn.Module) -> None:
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
