"""Personalized churn predictions: a local model in a mixture with the shared private one.

The local model is trained without noise and never leaves the retailer; only the shared one is
released.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from securefl.data.tables import RetailerTables
from securefl.ml.metrics.classification import classification_units
from securefl.ml.metrics.score_blending import best_share
from securefl.ml.metrics.spec import Split
from securefl.ml.metrics.sums import MetricSums
from securefl.ml.metrics.unit_sums import UnitSums
from securefl.tasks.churn.examples import ChurnExamples, ChurnFacts
from securefl.tasks.churn.task import ChurnMember, ChurnTask, churn_metrics
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.local_baseline import train_local_model


@dataclass(frozen=True)
class PersonalizedMember(ChurnMember):
    """A member with a local model.

    Attributes:
        task: The task of the local model.
        facts: What the members agree on.
    """

    task: ChurnTask
    facts: ChurnFacts

    @cached_property
    def local(self) -> nn.Module:
        """The local model, trained without noise on first use."""
        return train_local_model(LocalProblem(self.task.config, self.task, self.facts, self))


class PrivateChurnTask(ChurnTask):
    """Predicts with a mixture of the shared model and each retailer's local one.

    Attributes:
        exact: The task of the local model.
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
        """Return the metrics of the mixture, its share selected on validation."""
        found, local = {}, personalized_member(member).local
        for name, splits in member.cases.items():
            share = self.chosen_share(model, local, splits["validation"])
            found[name] = Mixture(model, local, splits[split]).metrics(share)
        return found

    def chosen_share(self, model: nn.Module, local: nn.Module, validation: ChurnExamples) -> float:
        """Return how much of the shared model is in what is served.

        Selected on validation, which is private to the retailer: the share is not released.
        """
        return best_share(Mixture(model, local, validation).log_loss)

    def evaluate_shared(
        self, model: nn.Module, member: ChurnMember, split: Split
    ) -> dict[str, MetricSums]:
        """Return the metrics of the shared model alone."""
        return super().evaluate(model, member, split)

    def unit_scores(self, model: nn.Module, member: ChurnMember, split: Split) -> UnitSums:
        """See `Task.unit_scores`; the shared model alone, one case a customer."""
        cases = member.cases[member.name][split]
        # One at a time: a row of a batch may differ in its last bit with the rows beside it.
        rows = [model(row[None]).detach() for row in cases.features]
        logits = torch.cat([cases.features.new_zeros(0), *rows]).numpy().astype(np.float64)
        return classification_units(logits, cases.gone.numpy(), cases.customers.numpy())

    def evaluate_local(self, member: ChurnMember, split: Split) -> dict[str, MetricSums]:
        """Return the metrics of the local model alone."""
        return super().evaluate(personalized_member(member).local, member, split)

    def _personalized(self, member: ChurnMember, facts: ChurnFacts) -> PersonalizedMember:
        return PersonalizedMember(**vars(member), task=self.exact(self.config), facts=facts)


class Mixture:
    """Weighted means of two models' log-odds of the same cases."""

    def __init__(self, shared: nn.Module, local: nn.Module, cases: ChurnExamples) -> None:
        self.shared: Tensor = shared(cases.features)
        self.local: Tensor = local(cases.features)
        self.cases = cases

    def logits(self, share: float) -> Tensor:
        """Return the log-odds at a share of the shared model, float32 [N]."""
        return share * self.shared + (1 - share) * self.local

    def metrics(self, share: float) -> MetricSums:
        """Return the metric sums at a share of the shared model."""
        return churn_metrics(self.logits(share), self.cases)

    def log_loss(self, share: float) -> float:
        """Return the summed log loss at a share of the shared model."""
        return self.metrics(share).ratios["log_loss"].numerator


def personalized_member(member: ChurnMember) -> PersonalizedMember:
    """Return the member as one with a local model.

    Raises:
        TypeError: If it is of another class.
    """
    if not isinstance(member, PersonalizedMember):
        raise TypeError(f"{member.name} has no local model")
    return member
