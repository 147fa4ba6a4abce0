"""Membership inference by the loss of the released model (Yeom et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from securefl.audit.attacks.probe import CanaryTraining, Mask
from securefl.audit.attacks.roc import Estimate, Scores, area, epsilon_at_least, hits_at
from securefl.ml.batches import Examples
from securefl.ml.device import seed_draws
from securefl.ml.parameters import load_shared, shared_vector
from securefl.tasks.base import AnyTask
from securefl.tasks.common.learner import LocalProblem

RATES = (0.01, 0.001)
"""False positive rates at which true positive rates are reported."""
_DRAWS = 16
"""Draws that a random loss is averaged over."""
_BATCH = 256
"""Units per forward pass."""


@dataclass(frozen=True)
class Membership:
    """Result of membership inference.

    Attributes:
        area: Area under the ROC curve; 0.5 is chance.
        hits: True positive rate by false positive rate.
        epsilon: Lower bound of epsilon.
        inside: Number of customers in the training data.
        outside: Number of customers not in the training data.
    """

    area: Estimate
    hits: dict[float, Estimate]
    epsilon: float
    inside: int
    outside: int


def membership(
    learner: LocalProblem, probed: CanaryTraining, customers: Mask, delta: float, confidence: float
) -> Membership:
    """Attack the released model with included and excluded customers.

    The attacker does not have what a member trains but never releases, such as customer vectors.
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
    """Return each unit's loss, float64 [n], averaged over several draws of a random loss."""
    model.eval()
    total = np.zeros(len(examples))
    with torch.random.fork_rng():
        seed_draws(seed)
        for _ in range(_DRAWS):
            batches = torch.split(torch.arange(len(examples)), _BATCH)
            losses = [task.loss(model, examples.batch(batch)) for batch in batches]
            total += torch.cat(losses).double().numpy()
    return total / _DRAWS
