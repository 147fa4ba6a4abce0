"""What a member computes for sums of scores: of the model that is scored, with its local part."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from securefl.federation.member.rounds import MemberRounds
from securefl.ml.metrics.spec import MetricSpec
from securefl.ml.metrics.sums import MetricSums
from securefl.ml.metrics.unit_sums import UnitSums
from securefl.ml.parameters import FloatVector, load_local, load_shared, local_state
from securefl.tasks.common.learner import LocalProblem


class SumScoring:
    """A `ScoredMember`: scores a shared model with the member's own local parameters.

    Args:
        learner: The member's data, task and configuration.
        model: The member's model; its local parameters are as before after each call.
        rounds: The member's rounds, with the local parameters of the kept one.
    """

    def __init__(self, learner: LocalProblem, model: nn.Module, rounds: MemberRounds) -> None:
        self._learner, self._model, self._rounds = learner, model, rounds

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
        learner, model, name = self._learner, self._model, self._learner.data.name
        load_shared(model, shared)
        if number <= learner.config.rounds:
            return [learner.score(model, "validation")[name]]
        present = local_state(model)
        load_local(model, self._rounds.kept)
        federated = learner.score(model, "test")[name]
        load_local(model, present)
        with torch.no_grad():
            return [federated, learner.task.baseline(learner.data, "test")[name]]
