"""Churn: which customers of a retailer will not come back, from how they bought so far.

A case is a customer at a cut-off: what she did before it is known, and whether she comes back
within the weeks after it has to be foreseen. A customer's cases at all training cut-offs are one
unit, so that what is clipped for her covers all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from securefl.config.base import NamedSettings
from securefl.config.schema import RunConfig
from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import DataError
from securefl.ml.batches import Batch
from securefl.ml.metrics.classification import classification_tally
from securefl.ml.metrics.spec import MetricSpec, Split
from securefl.ml.metrics.sums import MetricSums
from securefl.tasks.base import MemberData, Task
from securefl.tasks.churn.examples import (
    ChurnExamples,
    ChurnFacts,
    RetailerObservations,
    agreed_facts,
    observation_dates,
)
from securefl.tasks.churn.model import Classifier
from securefl.tasks.churn.settings import ChurnSettings, LogisticSettings, MlpSettings
from securefl.tasks.common.contribution_bounds import UserBatches

_STEPS: Final = 25
_RIDGE: Final = 1e-3


@dataclass(frozen=True)
class ChurnMember(MemberData):
    """Customers with their training cases, and the cases that are evaluated.

    Attributes:
        examples: Customers as units: features, whether she was gone, and a mask.
        cases: Retailer to split to cases: one retailer for a member, all of them for pooled data.
    """

    examples: UserBatches
    cases: Mapping[str, Mapping[Split, ChurnExamples]]


class ChurnTask(Task[ChurnFacts, ChurnMember]):
    """Foresees which customers will not come back."""

    name: ClassVar[str] = "churn"
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        MetricSpec("log_loss", higher_is_better=False),
        MetricSpec("auc", higher_is_better=True),
        MetricSpec("average_precision", higher_is_better=True),
        MetricSpec("brier", higher_is_better=False),
        MetricSpec("calibration_error", higher_is_better=False),
    )

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        assert isinstance(config.cuts, ChurnSettings)
        self.split = config.cuts
        self.settings: NamedSettings = config.model

    def agree(self, data: RetailData) -> ChurnFacts:
        """The period and the catalogue; see `agreed_facts`."""
        return agreed_facts(data, self.split)

    def prepare(self, tables: RetailerTables, facts: ChurnFacts) -> ChurnMember:
        """The retailer's customers at all cut-offs.

        Raises:
            DataError: If no customer has bought enough to be trained on.
        """
        cut = RetailerObservations(tables, facts, self.split)
        cases = {
            split: cut.at(moments)
            for split, moments in observation_dates(facts.end, self.split).items()
        }
        training = cases["train"]
        if not len(training.customers):
            raise DataError(
                f"{tables.name}: no customer bought {self.split.min_baskets} baskets before a "
                "cut-off (churn.min_baskets)"
            )
        columns = (training.features, training.gone)
        units = UserBatches.of(training.customers, columns, self.split.training_cutoffs)
        return _member(tables.name, units, {tables.name: cases})

    def pool(self, members: Sequence[ChurnMember], facts: ChurnFacts) -> ChurnMember:
        """All retailers' customers; one of several retailers is as many units."""
        del facts
        units = UserBatches.joined([member.examples for member in members])
        cases = {name: own for member in members for name, own in member.cases.items()}
        return _member("pooled", units, cases)

    def model(self, facts: ChurnFacts, customers: int) -> nn.Module:
        """The classifier; all of its parameters are shared."""
        assert isinstance(self.settings, LogisticSettings | MlpSettings)
        return Classifier(self.settings, self.split.features)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy of each customer's cases, float [B]."""
        features, gone, present = batch
        logits = model(features)
        truth = gone.to(logits.dtype)
        each = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        return (each * present).sum(dim=1) / present.sum(dim=1)

    def evaluate(
        self, model: nn.Module, member: ChurnMember, split: Split
    ) -> dict[str, MetricSums]:
        """Metrics of the model's probabilities, by retailer."""
        return {
            name: churn_metrics(model(own[split].features), own[split])
            for name, own in member.cases.items()
        }

    def baseline(self, member: ChurnMember, split: Split) -> dict[str, MetricSums]:
        """The same for the longer away, the likelier gone: each retailer's own rule."""
        return {
            name: churn_metrics(recency_rule(own["train"], own[split]), own[split])
            for name, own in member.cases.items()
        }


def recency_rule(known: ChurnExamples, cases: ChurnExamples) -> Tensor:
    """Log-odds from how long a customer has been away and nothing else, float64 [N].

    A logistic regression with one weight, by Newton's method, on the training cases of a retailer;
    a small ridge keeps it finite where all of them came back.
    """
    away = known.features[:, :1].double()
    design, truth = torch.cat([away, torch.ones_like(away)], dim=1), known.gone.double()
    weights = torch.zeros(2, dtype=torch.float64)
    for _ in range(_STEPS):
        chance = torch.sigmoid(design @ weights)
        slope = design.T @ (chance - truth) + _RIDGE * weights
        curvature = design.T @ (design * (chance * (1 - chance))[:, None])
        step = torch.linalg.solve(curvature + _RIDGE * torch.eye(2, dtype=torch.float64), slope)
        weights = weights - step
    return cases.features[:, 0].double() * weights[0] + weights[1]


def churn_metrics(logits: Tensor, cases: ChurnExamples) -> MetricSums:
    """The metric sums of log-odds, float [N]."""
    return classification_tally(logits.detach().numpy().astype(np.float64), cases.gone.numpy())


def _member(
    name: str, units: UserBatches, cases: Mapping[str, Mapping[Split, ChurnExamples]]
) -> ChurnMember:
    return ChurnMember(name, units, samples=len(units), customers=0, cases=cases)
