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
from securefl.tasks.common.local_baseline import own_model
from securefl.tasks.demand.noisy_series import NoisedMember, NoisySeriesTask
from securefl.tasks.demand.task import DemandFacts, DemandMember, DemandTask
from securefl.tasks.demand.windows import Cases


@dataclass(frozen=True)
class ServingMember(NoisedMember):
    """A member with a forecaster of its own.

    Attributes:
        task: The task without noise.
        facts: What the members agree on.
    """

    task: DemandTask
    facts: DemandFacts

    @cached_property
    def own(self) -> nn.Module:
        """The own forecaster, trained on the exact series when it is first served."""
        return own_model(LocalProblem(self.task.config, self.task, self.facts, self.exact))


class PrivateDemandTask(NoisySeriesTask):
    """Serves the shared forecaster in a mean with each retailer's own."""

    def prepare(self, tables: RetailerTables, facts: DemandFacts) -> ServingMember:
        """See `NoisySeriesTask.prepare`."""
        return self._serving(super().prepare(tables, facts), facts)

    def pool(self, members: Sequence[DemandMember], facts: DemandFacts) -> ServingMember:
        """See `NoisySeriesTask.pool`."""
        return self._serving(super().pool(members, facts), facts)

    def evaluate(
        self, model: nn.Module, member: DemandMember, split: Split
    ) -> dict[str, MetricSums]:
        """Errors of what is served, the share of the shared forecast chosen on validation."""
        serving = _serving_member(member)
        tallies = {}
        for name in member.cases:
            share = self._best_share(model, serving, name)
            tallies[name] = self._served(model, serving, name, split, share)
        return tallies

    def coming(self, model: nn.Module, member: DemandMember) -> Tensor:
        """What is served for the step after the data."""
        serving, name = _serving_member(member), member.name
        share = self._best_share(model, serving, name)
        return self._mixed(model, serving, member.coming[name], serving.exact.coming[name], share)

    def released(
        self, model: nn.Module, member: DemandMember, split: Split
    ) -> dict[str, MetricSums]:
        """Errors of the shared forecaster, and of nothing else."""
        return super().evaluate(model, member, split)

    def own(self, member: DemandMember, split: Split) -> dict[str, MetricSums]:
        """Errors of the own forecaster, and of nothing else."""
        serving = _serving_member(member)
        return serving.task.evaluate(serving.own, serving.exact, split)

    def _best_share(self, model: nn.Module, member: ServingMember, name: str) -> float:
        metric = self.metrics[0].name
        return best_share(
            lambda share: self._served(model, member, name, "validation", share).values()[metric]
        )

    def _served(
        self, model: nn.Module, member: ServingMember, name: str, split: Split, share: float
    ) -> MetricSums:
        cases, exact = member.cases[name][split], member.exact.cases[name][split]
        return self.scored(self._mixed(model, member, cases, exact, share), cases)

    def _mixed(
        self, model: nn.Module, member: ServingMember, cases: Cases, exact: Cases, share: float
    ) -> Tensor:
        """What is served, in units; a mean of ascending quantiles ascends."""
        own = self.forecast(member.own, exact)
        return share * self.forecast(model, cases) + (1 - share) * own

    def _serving(self, member: NoisedMember, facts: DemandFacts) -> ServingMember:
        return ServingMember(**vars(member), task=self.exact(self.config), facts=facts)


def _serving_member(member: DemandMember) -> ServingMember:
    if not isinstance(member, ServingMember):
        raise TypeError(f"{member.name} has no forecaster of its own")
    return member
