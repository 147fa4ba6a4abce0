"""Personalized demand forecasts: a local forecaster mixed with the shared private one.

The local forecaster is trained on the exact series and never leaves the retailer; only the shared
one, which is trained on noised series alone, is released.
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
    """A member with a local forecaster.

    Attributes:
        task: The task without noise.
        facts: What the members agree on.
    """

    task: DemandTask
    facts: DemandFacts

    @cached_property
    def local(self) -> nn.Module:
        """The local forecaster, trained on the exact series on first use."""
        return train_local_model(LocalProblem(self.task.config, self.task, self.facts, self.exact))


class PrivateDemandTask(NoisySeriesTask):
    """Forecasts with a mean of the shared forecaster and each retailer's local one."""

    def prepare(self, tables: RetailerTables, facts: DemandFacts) -> PersonalizedMember:
        """See `NoisySeriesTask.prepare`."""
        return self._personalized(super().prepare(tables, facts), facts)

    def pool(self, members: Sequence[DemandMember], facts: DemandFacts) -> PersonalizedMember:
        """See `NoisySeriesTask.pool`."""
        return self._personalized(super().pool(members, facts), facts)

    def evaluate(
        self, model: nn.Module, member: DemandMember, split: Split
    ) -> dict[str, MetricSums]:
        """Return the errors of the mixture, its share selected on validation."""
        personal = personalized_member(member)
        found = {}
        for name in member.cases:
            share = self.chosen_share(model, personal, name)
            found[name] = self._mixture_metrics(model, personal, name, split, share)
        return found

    def coming(self, model: nn.Module, member: DemandMember) -> Tensor:
        """Return the mixture's forecast of the step after the data."""
        personal, name = personalized_member(member), member.name
        share = self.chosen_share(model, personal, name)
        cases, exact = member.coming[name], personal.exact.coming[name]
        return self.mixture(model, personal.local, (cases, exact), share)

    def evaluate_shared(
        self, model: nn.Module, member: DemandMember, split: Split
    ) -> dict[str, MetricSums]:
        """Return the errors of the shared forecaster alone."""
        return super().evaluate(model, member, split)

    def evaluate_local(self, member: DemandMember, split: Split) -> dict[str, MetricSums]:
        """Return the errors of the local forecaster alone."""
        personal = personalized_member(member)
        return personal.task.evaluate(personal.local, personal.exact, split)

    def chosen_share(self, model: nn.Module, member: PersonalizedMember, name: str) -> float:
        """Return how much of the shared forecaster is in what is served, chosen on validation."""
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
        return self.scored(self.mixture(model, member.local, (cases, exact), share), cases)

    def mixture(
        self,
        model: nn.Module,
        local: nn.Module,
        cases: tuple[ForecastExamples, ForecastExamples],
        share: float,
    ) -> Tensor:
        """Return the mixture, in units; a mean of ascending quantiles is ascending.

        Args:
            model: The shared forecaster.
            local: The local one.
            cases: The cases with the inputs of either.
            share: Weight of the shared forecaster.
        """
        of_shared, of_local = cases
        found = self.forecast(local, of_local)
        return share * self.forecast(model, of_shared) + (1 - share) * found

    def _personalized(self, member: NoisedMember, facts: DemandFacts) -> PersonalizedMember:
        return PersonalizedMember(**vars(member), task=self.exact(self.config), facts=facts)


def personalized_member(member: DemandMember) -> PersonalizedMember:
    """Return the member as one with a local forecaster.

    Raises:
        TypeError: If it is of another class.
    """
    if not isinstance(member, PersonalizedMember):
        raise TypeError(f"{member.name} has no local forecaster")
    return member
