"""A member's own scores of a model; what of them leaves it is decided in `answers.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import torch
from torch import nn

from securefl.config.schema import TrainingSettings
from securefl.federation import messages as m
from securefl.federation.member.rounds import MemberRounds
from securefl.ml.metrics.spec import MetricSpec, Split
from securefl.ml.metrics.sums import MetricSums
from securefl.ml.metrics.unit_sums import UnitSums
from securefl.ml.parameters import load_local, load_shared, local_state
from securefl.ml.vectors import FloatVector
from securefl.tasks.base import Judged
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.local_baseline import train_local_only

LocalPart = Literal["present", "kept", "start", "none"]
EARLIER: Final = "earlier"
"""The arm of the model that the run went on from, on this run's cases."""
Tallies = Mapping[str, MetricSums]
"""Metric sums by retailer."""


class MemberScoring:
    """Scores of shared models beside the member's local parameters; a `ScoredMember` of sums.

    Args:
        learner: The member's learning problem.
        model: Its model; the local parameters that are in it stay as they are.
        rounds: Its rounds, with the local parameters of the best one.
    """

    def __init__(self, learner: LocalProblem, model: nn.Module, rounds: MemberRounds) -> None:
        self._learner = learner
        self._model = model
        self._rounds = rounds

    @property
    def units(self) -> int:
        """See `ScoredMember`."""
        return self._learner.data.units

    @property
    def metrics(self) -> tuple[MetricSpec, ...]:
        """See `ScoredMember`."""
        return self._learner.task.scored_metrics

    def unit_scores(self, shared: FloatVector) -> UnitSums:
        """See `ScoredMember`; under a budget the last round is the result, and the kept one."""
        load_shared(self._model, shared)
        return self._learner.score_units(self._model)

    def arm_scores(self, number: int, shared: FloatVector) -> Sequence[MetricSums]:
        """See `ScoredMember`."""
        name = self._learner.data.name
        if number <= self._learner.config.rounds:
            return [self.score(shared, "validation", "present")[name]]
        return [self.score(shared, "test", "kept")[name], self.baseline("test")[name]]

    def score(self, shared: FloatVector, split: Split, local: LocalPart) -> Tallies:
        """Return the metric sums of a shared model.

        Args:
            shared: The model, float32 [d].
            split: The cases; with `local` "none" always the test cases.
            local: Beside which local parameters.
        """
        load_shared(self._model, shared)
        if local == "none":
            return self._learner.score_shared(self._model)
        present = local_state(self._model)
        if local in {"kept", "start"}:
            load_local(self._model, self._rounds.kept if local == "kept" else self._rounds.start)
        tallies = self._learner.score(self._model, split)
        load_local(self._model, present)
        return tallies

    def judged(self, shared: FloatVector) -> Judged:
        """Return what a shared model, float32 [d], is judged by, beside the local parameters."""
        load_shared(self._model, shared)
        return self._learner.judged(self._model)

    def baseline(self, split: Split) -> Tallies:
        """Return the metric sums of the baseline."""
        with torch.no_grad():
            return self._learner.task.baseline(self._learner.data, split)

    def noised_baseline(self) -> Tallies:
        """Return the metric sums of the baseline under noise of the run's whole budget, on test."""
        return self._learner.task.noised_baseline(self._learner.data, "test")


def local_only_result(
    learner: LocalProblem, settings: TrainingSettings, start: FloatVector
) -> m.LocalOnlyResult:
    """Return the scores of training without the federation, as they travel."""
    result = train_local_only(learner, settings, learner.config.rounds, start)
    return m.LocalOnlyResult(best_round=result.best_round, tallies=m.pack_tallies(result.tallies))
