"""Training without a federation: the references that it is measured against, and own models."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from securefl.config.schema import TrainingSettings
from securefl.ml.metrics.sums import MetricSums, total
from securefl.ml.parameters import FloatVector, load_shared
from securefl.tasks.common.learner import LocalProblem


@dataclass(frozen=True)
class LocalOnlyTraining:
    """How training without the federation went.

    Attributes:
        best_round: The round that was best on validation; 0 where a retailer's own part is it.
        tallies: The metrics of that round on the test split, by retailer.
    """

    best_round: int
    tallies: dict[str, MetricSums]


def train_local_only(
    learner: LocalProblem, settings: TrainingSettings, rounds: int, shared: FloatVector
) -> LocalOnlyTraining:
    """As many rounds as the federation, on one party's data.

    The model starts where the federation starts, is scored on validation as often, and its best
    round counts, so that no arm is favoured. Where the task serves a part of the party's own beside
    the shared model, that part is what the party has without the federation.
    """
    own = learner.score_local()
    if own is not None:
        return LocalOnlyTraining(0, own)
    model = learner.fresh_model("alone")
    load_shared(model, shared)
    best = train_to_best(learner, model, settings, rounds)
    return LocalOnlyTraining(best, learner.score(model, "test"))


def train_local_model(learner: LocalProblem) -> nn.Module:
    """What a retailer serves of its own beside a shared model: trained as it would be alone.

    It may be asked for in the middle of an evaluation, where no gradient is kept.
    """
    config, model = learner.config, learner.fresh_model("own")
    with torch.enable_grad():
        train_to_best(learner, model, config.references.alone, config.rounds)
    return model.eval()


def train_to_best(
    learner: LocalProblem,
    model: nn.Module,
    settings: TrainingSettings,
    rounds: int,
    patience: int | None = None,
) -> int:
    """Train a model on one party's data and leave it as its best round on validation left it.

    Args:
        learner: The party's data and task.
        model: What is trained, from its present state.
        settings: How a round is trained.
        rounds: How many at most.
        patience: Stop once so many rounds in a row were no better; None never does.

    Returns:
        The best round, from 1.

    Raises:
        ValueError: If there is no round.
    """
    if rounds < 1:
        raise ValueError("training alone needs at least one round")
    decisive = learner.task.metrics[0]
    trainer = learner.trainer(model, settings)
    best, best_value, kept = 0, float("nan"), model.state_dict()
    for number in range(1, rounds + 1):
        trainer.train(learner.seed("alone", number), learner.units(number))
        validation = total(learner.score(model, "validation").values())
        value = validation.ratios[decisive.name].value
        if best == 0 or decisive.better(value, best_value):
            best, best_value = number, value
            kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        elif patience is not None and number - best >= patience:
            break
    model.load_state_dict(kept)
    return best
