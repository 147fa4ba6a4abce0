"""Training without a federation: the local-only baseline, and local models."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from securefl.config.schema import TrainingSettings
from securefl.ml.metrics.sums import MetricSums, total
from securefl.ml.parameters import load_shared
from securefl.ml.vectors import FloatVector
from securefl.tasks.common.learner import LocalProblem


@dataclass(frozen=True)
class LocalOnlyTraining:
    """Result of training without the federation.

    Attributes:
        best_round: The best round on validation; 0 where the task's local model is the baseline.
        tallies: The metrics of that round on the test split, by retailer.
    """

    best_round: int
    tallies: dict[str, MetricSums]


def train_local_only(
    problem: LocalProblem, settings: TrainingSettings, rounds: int, shared: FloatVector
) -> LocalOnlyTraining:
    """Train on one party's data, for as many rounds as the federation.

    The model starts from the same weights, is evaluated on validation as often, and its best round
    is reported, so that neither side of the comparison is favoured; it ends early by the same rule.
    Where the task personalizes
    with a local model, that model is what the party has without the federation.
    """
    local = problem.score_local()
    if local is not None:
        return LocalOnlyTraining(0, local)
    model = problem.fresh_model("alone")
    load_shared(model, shared)
    best = train_to_best(problem, model, settings, rounds, problem.config.patience)
    return LocalOnlyTraining(best, problem.score(model, "test"))


def train_local_model(problem: LocalProblem) -> nn.Module:
    """Train the local model of a personalized prediction, as the local-only baseline is trained."""
    config, model = problem.config, problem.fresh_model("own")
    with torch.enable_grad():  # trained on first use, during an evaluation without gradients
        train_to_best(problem, model, config.references.alone, config.rounds)
    return model.eval()


def train_to_best(
    problem: LocalProblem,
    model: nn.Module,
    settings: TrainingSettings,
    rounds: int,
    patience: int | None = None,
) -> int:
    """Train a model on one party's data and restore its best round on validation.

    Args:
        problem: The party's data and task.
        model: Trained in place, from its present state.
        settings: Training of one round.
        rounds: Largest number of rounds.
        patience: Stop after so many rounds without improvement; None never stops early.

    Returns:
        The best round, from 1.

    Raises:
        ValueError: If `rounds` is below 1.
    """
    if rounds < 1:
        raise ValueError("training alone needs at least one round")
    decisive = problem.task.metrics[0]
    trainer = problem.trainer(model, settings)
    best, best_value, kept = 0, float("nan"), model.state_dict()
    for number in range(1, rounds + 1):
        trainer.train(problem.seed("alone", number), problem.units(number))
        validation = total(problem.score(model, "validation").values())
        value = validation.ratios[decisive.name].value
        # The first round is kept even where its metric is NaN, so that a model is always left.
        if best == 0 or decisive.better(value, best_value):
            best, best_value = number, value
            kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        elif patience is not None and number - best >= patience:
            break
    model.load_state_dict(kept)
    return best
