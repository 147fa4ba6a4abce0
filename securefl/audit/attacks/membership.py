"""Who was trained on, read from the loss of the released model (Yeom et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from securefl.audit.attacks.probe import CanaryTraining, Mask
from securefl.audit.attacks.roc import Estimate, Scores, area, epsilon_at_least, hits_at
from securefl.ml.batches import Examples
from securefl.ml.parameters import load_shared, shared_vector
from securefl.tasks.base import AnyTask
from securefl.tasks.common.learner import LocalProblem

RATES = (0.01, 0.001)
"""False alarms a person not trained on, at which hits are reported."""
_DRAWS = 16
_PIECE = 256


@dataclass(frozen=True)
class Membership:
    """How well the loss tells who was trained on.

    Attributes:
        area: Area under the ROC curve; 0.5 is chance.
        hits: Share of the trained that are found, by rate of false alarms.
        epsilon: Lower bound of epsilon.
        inside: Customers trained on.
        outside: Customers not trained on.
    """

    area: Estimate
    hits: dict[float, Estimate]
    epsilon: float
    inside: int
    outside: int


def membership(
    learner: LocalProblem, probed: CanaryTraining, customers: Mask, delta: float, confidence: float
) -> Membership:
    """Attack the released model with the customers whom the coins put in or out.

    What a member trained and does not release, such as customer vectors, the attacker has not.
    """
    model = learner.fresh_model("attacker")
    load_shared(model, shared_vector(probed.model.base))
    scores = -unit_losses(learner.task, model, learner.data.examples, learner.seed("loss"))
    inside, outside = scores[customers], scores[~customers]
    return Membership(
        area=area(inside, outside, confidence),
        hits={rate: hits_at(inside, outside, rate, confidence) for rate in RATES},
        epsilon=epsilon_at_least(inside, outside, delta, confidence, learner.seed("halves")),
        inside=len(inside),
        outside=len(outside),
    )


@torch.no_grad()
def unit_losses(task: AnyTask, model: nn.Module, examples: Examples, seed: int) -> Scores:
    """Each unit's loss, float64 [n], over several draws where the loss itself draws something."""
    model.eval()
    total = np.zeros(len(examples))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for _ in range(_DRAWS):
            pieces = torch.split(torch.arange(len(examples)), _PIECE)
            losses = [task.loss(model, examples.batch(piece)) for piece in pieces]
            total += torch.cat(losses).double().numpy()
    return total / _DRAWS
