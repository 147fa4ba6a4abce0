"""The references that a federation is measured against: the same training without it."""

from __future__ import annotations

from dataclasses import dataclass

from securefl.config.schema import TrainingSettings
from securefl.evaluation.tally import Tally, total
from securefl.models.locality import FloatVector, load_shared
from securefl.training.learner import Learner


@dataclass(frozen=True)
class AloneResult:
    """How training without the federation went.

    Attributes:
        best_round: The round that was best on validation.
        tallies: The metrics of that round on the test split, by retailer.
    """

    best_round: int
    tallies: dict[str, Tally]


def train_alone(
    learner: Learner, settings: TrainingSettings, rounds: int, shared: FloatVector
) -> AloneResult:
    """As many rounds as the federation, on one party's data.

    The model starts where the federation starts, is scored on validation as often, and its best
    round counts, so that no arm is favoured.
    """
    decisive = learner.task.metrics[0]
    model = learner.fresh_model("alone")
    load_shared(model, shared)
    trainer = learner.trainer(model, settings)
    best: AloneResult | None = None
    best_value = float("nan")
    for round_number in range(1, rounds + 1):
        trainer.train(learner.seed("alone", round_number))
        validation = total(learner.score(model, "validation").values())
        value = validation.ratios[decisive.name].value
        if best is None or decisive.better(value, best_value):
            best, best_value = AloneResult(round_number, learner.score(model, "test")), value
    if best is None:
        raise ValueError("training alone needs at least one round")
    return best
