"""How far one unit moves each layer: a layer that clipping leaves out of the norm shows.

Dirac canaries have their gradient in a table of their own. A layer of the model itself, whose part
of the norm is forgotten, is clipped as if it were shorter. So equal canaries take part that have
the gradient of a real unit, a hundred times as long: whatever layers it passes, each canary moves
the sum by one clip norm. One step is trained with them and one without, from the same model on the
same units; their difference, projected on the known gradient, layer by layer, is what the canaries
did, and the noise of one direction a layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor, nn

from securefl.audit.attacks.canaries import CanaryModel, CanaryTask, generated_member
from securefl.audit.attacks.probe import CanaryTraining, MembershipGame, probe
from securefl.config.schema import RunConfig
from securefl.ml.batches import Batch
from securefl.ml.parameters import load_shared, shared_parameters
from securefl.ml.vectors import FloatVector
from securefl.tasks.common.learner import LocalProblem

COPIES = 400
"""Equal canaries; the error of what each did is the noise over so many."""
_SURE = 1e-4
_ROUNDING = 1e-3


STARTS = ((1.0, 1.0), (8.0, 1.0), (8.0, 0.02))
"""Factors on the first model's layers, and on its tables. As it is, most of a gradient is in the
last layers; with larger weights in the first ones, and with small rows besides in the tables."""


@dataclass(frozen=True)
class LayerMoves:
    """What a canary did to the sum, in clip norms.

    Attributes:
        moved: By layer, from the first model whose gradient has most in that layer: how far a
            canary moved the sum of all layers.
        share: By layer: the part of the gradient's norm that it has there.
        error: Standard error of each.
    """

    moved: dict[str, float]
    share: dict[str, float]
    error: float

    @property
    def worst(self) -> str:
        """Return the layer from whose model a canary moved the sum farthest."""
        return max(self.moved, key=lambda name: self.moved[name])

    @property
    def within(self) -> bool:
        """Return whether no canary moved the sum by more than a clip norm, at a chance of 1e-4."""
        quantile = NormalDist().inv_cdf(1 - _SURE / len(STARTS))
        return self.moved[self.worst] - quantile * self.error <= 1 + _ROUNDING


def layer_member(config: RunConfig) -> LocalProblem:
    """Return a small member whose model has layers of every kind and a loss without chance.

    Its units are ratings, with the run's budget.
    """
    return generated_member(
        config,
        rounds=1,
        model={"name": "rating-ncf", "dim": 8, "hidden": 16, "dropout": 0.0},
        privacy={"dp": "local", "unit": "record"},
    )


class LayerTask(CanaryTask):
    """The audited task, whose canaries have the gradient of a real unit, many times as long."""

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the task's losses, [B]; those of canaries times their pull."""
        assert isinstance(model, CanaryModel)
        *parts, slots, pull = batch
        idle: Tensor = 0.0 * model.table(slots).squeeze(1)
        weight = torch.where(slots == len(model.table.weight) - 1, 1.0, pull)
        return weight * self.task.loss(model.base, tuple(parts)) + idle


def layer_moves(learner: LocalProblem, directory: Path) -> LayerMoves:
    """Return how far canaries moved the sum.

    Clipping only shortens a gradient, so that all of a canary's effect lies along the known one. A
    layer that is left out of the norm makes the norm shorter, and the step longer than C.

    Args:
        learner: The audited member; its configuration is changed to one full step of plain SGD.
        directory: Folder of the ledgers; new and empty.
    """
    once = _one_step(learner)
    moved: dict[str, float] = {}
    share: dict[str, float] = {}
    error = 0.0
    for number, factors in enumerate(STARTS):
        gradient, distance, error = _from(once, factors, directory / str(number))
        for name, part in gradient.items():
            if part > share.get(name, 0.0):
                moved[name], share[name] = distance, part
    return LayerMoves(moved, share, error)


def _from(
    learner: LocalProblem, factors: tuple[float, float], path: Path
) -> tuple[dict[str, float], float, float]:
    """Return a gradient's share by layer, how far a canary moved the sum, and the error of that."""
    customers = np.zeros(len(learner.data.examples), dtype=bool)
    customers[0] = True
    found, without = (
        probe(
            learner,
            MembershipGame(np.full(COPIES, taken), customers),
            path / name,
            task=LayerTask,
            starts=partial(_scale, factors),
        )
        for taken, name in ((True, "with"), (False, "without"))
    )
    assert without.spending is not None
    gradient, privacy = _gradient(learner, without), learner.config.privacy
    whole = np.concatenate([*gradient.values()])
    length = float(np.linalg.norm(whole))
    difference = found.releases[1].astype(np.float64) - without.releases[1]
    along = float(difference[: len(whole)] @ whole) / length  # the table is the last layer
    distance = along * privacy.expected_batch / privacy.clip_norm / COPIES
    error = math.sqrt(2) * without.spending.noise_multiplier / COPIES
    shares = {name: float(np.linalg.norm(part)) / length for name, part in gradient.items()}
    return shares, distance, error


@torch.no_grad()
def _scale(factors: tuple[float, float], model: nn.Module) -> None:
    layers, tables = factors
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            parameter.mul_(tables if isinstance(module, nn.Embedding) else layers)


def _one_step(learner: LocalProblem) -> LocalProblem:
    privacy = learner.config.privacy.model_copy(
        update={
            "steps": 1,
            "sampling_rate": 1.0,
            "optimizer": "sgd",
            "learning_rate": 1.0,
            "momentum": 0.0,
            "weight_decay": 0.0,
        }
    )
    return replace(
        learner, config=learner.config.model_copy(update={"rounds": 1, "privacy": privacy})
    )


def _gradient(learner: LocalProblem, start: CanaryTraining) -> dict[str, FloatVector]:
    """Return minus the first unit's gradient by shared layer, at the model before the step."""
    model = start.model
    load_shared(model, start.releases[0])
    model.zero_grad(set_to_none=True)
    batch = learner.data.examples.batch(torch.zeros(1, dtype=torch.int64))
    torch.autograd.backward(learner.task.loss(model.base, batch).sum())
    return {
        name: -_flat(parameter)
        for name, parameter in shared_parameters(model).items()
        if name.startswith("base.")
    }


def _flat(parameter: Tensor) -> FloatVector:
    gradient = parameter.grad
    found = torch.zeros_like(parameter) if gradient is None else gradient
    return found.detach().to_dense().flatten().numpy().astype(np.float64)
