"""Churn as a retailer serves it: a model of its own in a mixture with the shared private one.

The own model is trained without noise and never leaves the retailer; only the shared one is
released.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from torch import Tensor, nn

from securefl.data.tables import RetailerTables
from securefl.ml.metrics.score_blending import best_share
from securefl.ml.metrics.spec import Split
from securefl.ml.metrics.sums import MetricSums
from securefl.tasks.churn.examples import ChurnExamples, ChurnFacts
from securefl.tasks.churn.task import ChurnMember, ChurnTask, churn_metrics
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.local_baseline import train_local_model


@dataclass(frozen=True)
class PersonalizedMember(ChurnMember):
    """A member with a model of its own.

    Attributes:
        task: The task without a mixture.
        facts: What the members agree on.
    """

    task: ChurnTask
    facts: ChurnFacts

    @cached_property
    def local(self) -> nn.Module:
        """The own model, trained without noise when it is first served."""
        return train_local_model(LocalProblem(self.task.config, self.task, self.facts, self))


class PrivateChurnTask(ChurnTask):
    """Serves the shared model in a mixture with each retailer's own.

    Attributes:
        exact: The task of a retailer alone.
    """

    exact: ClassVar[type[ChurnTask]] = ChurnTask

    def prepare(self, tables: RetailerTables, facts: ChurnFacts) -> PersonalizedMember:
        """See `ChurnTask.prepare`."""
        return self._personalized(super().prepare(tables, facts), facts)

    def pool(self, members: Sequence[ChurnMember], facts: ChurnFacts) -> PersonalizedMember:
        """See `ChurnTask.pool`."""
        return self._personalized(super().pool(members, facts), facts)

    def evaluate(
        self, model: nn.Module, member: ChurnMember, split: Split
    ) -> dict[str, MetricSums]:
        """Metrics of what is served, the share of the shared model chosen on validation."""
        tallies = {}
        for name, own in member.cases.items():
            validation = _Mixture(model, _personalized_member(member).local, own["validation"])
            share = best_share(validation.log_loss)
            tallies[name] = _Mixture(model, _personalized_member(member).local, own[split]).tally(
                share
            )
        return tallies

    def evaluate_shared(
        self, model: nn.Module, member: ChurnMember, split: Split
    ) -> dict[str, MetricSums]:
        """Metrics of the shared model, and of nothing else."""
        return super().evaluate(model, member, split)

    def evaluate_local(self, member: ChurnMember, split: Split) -> dict[str, MetricSums]:
        """Metrics of the own model, and of nothing else."""
        return super().evaluate(_personalized_member(member).local, member, split)

    def _personalized(self, member: ChurnMember, facts: ChurnFacts) -> PersonalizedMember:
        return PersonalizedMember(**vars(member), task=self.exact(self.config), facts=facts)


class _Mixture:
    """Weighted means of what two models say of the same cases, on the scale of log-odds."""

    def __init__(self, shared: nn.Module, own: nn.Module, cases: ChurnExamples) -> None:
        self.shared: Tensor = shared(cases.features)
        self.own: Tensor = own(cases.features)
        self.cases = cases

    def tally(self, share: float) -> MetricSums:
        return churn_metrics(share * self.shared + (1 - share) * self.own, self.cases)

    def log_loss(self, share: float) -> float:
        return self.tally(share).ratios["log_loss"].numerator


def _personalized_member(member: ChurnMember) -> PersonalizedMember:
    if not isinstance(member, PersonalizedMember):
        raise TypeError(f"{member.name} has no model of its own")
    return member
