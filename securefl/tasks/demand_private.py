"""Demand as a retailer serves it: its own forecaster beside the shared private one.

The own forecaster sees the exact series and never leaves the retailer; only the shared one, which
sees noised series alone, is released.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from securefl.config.schema import RunConfig
from securefl.data.tables import RetailerTables
from securefl.evaluation.mixture import best_share
from securefl.evaluation.tally import Tally
from securefl.tasks.base import Split
from securefl.tasks.demand import DemandFacts, DemandMember, DemandTask, forecast_errors
from securefl.tasks.demand_cases import Cases
from securefl.tasks.demand_noised import NoisedDemandTask, NoisedMember
from securefl.training.alone import own_model
from securefl.training.learner import Learner


@dataclass(frozen=True)
class ServingMember(NoisedMember):
    """A member with a forecaster of its own.

    Attributes:
        config: The run's configuration.
        facts: What the members agree on.
    """

    config: RunConfig
    facts: DemandFacts

    @cached_property
    def own(self) -> nn.Module:
        """The own forecaster, trained on the exact series when it is first served."""
        return own_model(Learner(self.config, DemandTask(self.config), self.facts, self.exact))


class PrivateDemandTask(NoisedDemandTask):
    """Serves the shared forecaster in a mean with each retailer's own."""

    def prepare(self, tables: RetailerTables, facts: DemandFacts) -> ServingMember:
        """See `NoisedDemandTask.prepare`."""
        return self._serving(super().prepare(tables, facts), facts)

    def pool(self, members: Sequence[DemandMember], facts: DemandFacts) -> ServingMember:
        """See `NoisedDemandTask.pool`."""
        return self._serving(super().pool(members, facts), facts)

    def evaluate(self, model: nn.Module, member: DemandMember, split: Split) -> dict[str, Tally]:
        """Errors of what is served, the share of the shared forecast chosen on validation."""
        serving = _serving_member(member)
        tallies = {}
        for name in member.cases:
            share = self._best_share(model, serving, name)
            tallies[name] = self._served(model, serving, name, split, share)
        return tallies

    def released(self, model: nn.Module, member: DemandMember, split: Split) -> dict[str, Tally]:
        """Errors of the shared forecaster, and of nothing else."""
        return super().evaluate(model, member, split)

    def own(self, member: DemandMember, split: Split) -> dict[str, Tally]:
        """Errors of the own forecaster, and of nothing else."""
        serving = _serving_member(member)
        return DemandTask(self.config).evaluate(serving.own, serving.exact, split)

    def _best_share(self, model: nn.Module, member: ServingMember, name: str) -> float:
        metric = self.metrics[0].name
        return best_share(
            lambda share: self._served(model, member, name, "validation", share).values()[metric]
        )

    def _served(
        self, model: nn.Module, member: ServingMember, name: str, split: Split, share: float
    ) -> Tally:
        cases = member.cases[name][split]
        own = self._forecast(member.own, member.exact.cases[name][split])
        shared = self._forecast(model, cases)
        return forecast_errors(share * shared + (1 - share) * own, cases.demand)

    def _forecast(self, model: nn.Module, cases: Cases) -> Tensor:
        """Units, float32 [N]."""
        inputs, series, level, _ = cases.batch
        return self.target.quantity(model(inputs, series, level))

    def _serving(self, member: NoisedMember, facts: DemandFacts) -> ServingMember:
        return ServingMember(**vars(member), config=self.config, facts=facts)


def _serving_member(member: DemandMember) -> ServingMember:
    if not isinstance(member, ServingMember):
        raise TypeError(f"{member.name} has no forecaster of its own")
    return member
