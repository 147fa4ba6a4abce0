"""Demand as a retailer serves it: its own forecaster beside the shared private one.

The own forecaster sees the exact series and never leaves the retailer; only the shared one, which
sees noised series alone, is released.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from securefl.data.tables import RetailerTables
from securefl.ml.metrics.score_blending import best_share
from securefl.ml.metrics.spec import Split
from securefl.ml.metrics.sums import MetricSums
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.local_baseline import train_local_model
from securefl.tasks.demand.noisy_series import NoisedMember, NoisySeriesTask
from securefl.tasks.demand.task import DemandFacts, DemandMember, DemandTask
from securefl.tasks.demand.windows import ForecastExamples


@dataclass(frozen=True)
class PersonalizedMember(NoisedMember):
    """A member with a forecaster of its own.

    Attributes:
        task: The task without noise.
        facts: What the members agree on.
    """

    task: DemandTask
    facts: DemandFacts

    @cached_property
    def local(self) -> nn.Module:
        """The own forecaster, trained on the exact series when it is first served."""
        return train_local_model(LocalProblem(self.task.config, self.task, self.facts, self.exact))


class PrivateDemandTask(NoisySeriesTask):
    """Serves the shared forecaster in a mean with each retailer's own."""

    def prepare(self, tables: RetailerTables, facts: DemandFacts) -> PersonalizedMember:
        """See `NoisySeriesTask.prepare`."""
        return self._personalized(super().prepare(tables, facts), facts)

    def pool(self, members: Sequence[DemandMember], facts: DemandFacts) -> PersonalizedMember:
        """See `NoisySeriesTask.pool`."""
        return self._personalized(super().pool(members, facts), facts)

    def evaluate(
        self, model: nn.Module, member: DemandMember, split: Split
    ) -> dict[str, MetricSums]:
        """Errors of what is served, the share of the shared forecast chosen on validation."""
        serving = _personalized_member(member)
        tallies = {}
        for name in member.cases:
            share = self._best_share(model, serving, name)
            tallies[name] = self._mixture_metrics(model, serving, name, split, share)
        return tallies

    def coming(self, model: nn.Module, member: DemandMember) -> Tensor:
        """What is served for the step after the data."""
        serving, name = _personalized_member(member), member.name
        share = self._best_share(model, serving, name)
        return self._mixture(model, serving, member.coming[name], serving.exact.coming[name], share)

    def evaluate_shared(
        self, model: nn.Module, member: DemandMember, split: Split
    ) -> dict[str, MetricSums]:
        """Errors of the shared forecaster, and of nothing else."""
        return super().evaluate(model, member, split)

    def evaluate_local(self, member: DemandMember, split: Split) -> dict[str, MetricSums]:
        """Errors of the own forecaster, and of nothing else."""
        serving = _personalized_member(member)
        return serving.task.evaluate(serving.local, serving.exact, split)

    def _best_share(self, model: nn.Module, member: PersonalizedMember, name: str) -> float:
        metric = self.metrics[0].name
        return best_share(
            lambda share: self._mixture_metrics(model, member, name, "validation", share).values()[
                metric
            ]
        )

    def _mixture_metrics(
        self, model: nn.Module, member: PersonalizedMember, name: str, split: Split, share: float
    ) -> MetricSums:
        cases, exact = member.cases[name][split], member.exact.cases[name][split]
        return self.scored(self._mixture(model, member, cases, exact, share), cases)

    def _mixture(
        self,
        model: nn.Module,
        member: PersonalizedMember,
        cases: ForecastExamples,
        exact: ForecastExamples,
        share: float,
    ) -> Tensor:
        """What is served, in units; a mean of ascending quantiles ascends."""
        own = self.forecast(member.local, exact)
        return share * self.forecast(model, cases) + (1 - share) * own

    def _personalized(self, member: NoisedMember, facts: DemandFacts) -> PersonalizedMember:
        return PersonalizedMember(**vars(member), task=self.exact(self.config), facts=facts)


def _personalized_member(member: DemandMember) -> PersonalizedMember:
    if not isinstance(member, PersonalizedMember):
        raise TypeError(f"{member.name} has no forecaster of its own")
    return member
