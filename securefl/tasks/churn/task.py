"""Churn: predict which customers of a retailer will not come back, from their past purchases.

A case is a customer at an observation date: features from before it, and whether they come back in
the weeks after it. A customer's cases at all training dates are one privacy unit, so that one
clipped gradient covers all of them.
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
from securefl.ml.item_rows import ItemRows
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
        examples: Customers as privacy units: features, churn labels, and a mask.
        cases: Retailer to split to cases: one retailer for a member, all of them for pooled data.
    """

    examples: UserBatches
    cases: Mapping[str, Mapping[Split, ChurnExamples]]


class ChurnTask(Task[ChurnFacts, ChurnMember]):
    """Predicts which customers will not come back."""

    name: ClassVar[str] = "churn"
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        MetricSpec("log_loss", higher_is_better=False, counted_as="cases"),
        MetricSpec("auc", higher_is_better=True),
        MetricSpec("average_precision", higher_is_better=True),
        MetricSpec("brier", higher_is_better=False, counted_as="cases"),
        MetricSpec("calibration_error", higher_is_better=False, counted_as="cases"),
    )

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        assert isinstance(config.cuts, ChurnSettings)
        self.split = config.cuts
        self.settings: NamedSettings = config.model

    def agree(self, data: RetailData) -> ChurnFacts:
        """Return the period and the catalogue; see `agreed_facts`."""
        return agreed_facts(data, self.split)

    def prepare(self, tables: RetailerTables, facts: ChurnFacts) -> ChurnMember:
        """Return the retailer's customers at all observation dates.

        Raises:
            DataError: If no customer has bought enough to be trained on, and none is to be hidden.
        """
        cut = RetailerObservations(tables, facts, self.split)
        cases = {
            split: cut.at(moments)
            for split, moments in observation_dates(facts.end, self.split).items()
        }
        training = cases["train"]
        if not len(training.customers) and not self.hides_units:
            raise DataError(
                f"{tables.name}: no customer bought {self.split.min_baskets} baskets before a "
                "cut-off (churn.min_baskets)"
            )
        columns = (training.features, training.gone)
        units = UserBatches.of(training.customers, columns, self.split.training_cutoffs)
        return _member(tables.name, units, {tables.name: cases})

    def pool(self, members: Sequence[ChurnMember], facts: ChurnFacts) -> ChurnMember:
        """Return all retailers' customers; one of several retailers is as many examples."""
        del facts
        units = UserBatches.joined([member.examples for member in members])
        cases = {name: splits for member in members for name, splits in member.cases.items()}
        return _member("pooled", units, cases)

    def model(self, facts: ChurnFacts, customers: int) -> nn.Module:
        """Return the classifier; all of its parameters are shared."""
        assert isinstance(self.settings, LogisticSettings | MlpSettings)
        return Classifier(self.settings, self.split.features)

    def item_rows(self, model: nn.Module, facts: ChurnFacts) -> ItemRows:
        """See `Task.item_rows`; features are the same every month, whatever is sold."""
        del model, facts
        return ItemRows.without_items()

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of each customer's cases, float [B]."""
        features, gone, present = batch
        logits = model(features)
        truth = gone.to(logits.dtype)
        each = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        return (each * present).sum(dim=1) / present.sum(dim=1)

    def evaluate(
        self, model: nn.Module, member: ChurnMember, split: Split
    ) -> dict[str, MetricSums]:
        """Return the metrics of the model's probabilities, by retailer."""
        return {
            name: churn_metrics(model(splits[split].features), splits[split])
            for name, splits in member.cases.items()
        }

    def baseline(self, member: ChurnMember, split: Split) -> dict[str, MetricSums]:
        """Return the metrics of recency alone, fitted by each retailer."""
        return {
            name: churn_metrics(recency_rule(splits["train"], splits[split]), splits[split])
            for name, splits in member.cases.items()
        }


def recency_rule(known: ChurnExamples, cases: ChurnExamples) -> Tensor:
    """Return log-odds from recency alone, float64 [N].

    A logistic regression with one weight, fitted by Newton's method on the training cases of a
    retailer; a small ridge keeps it finite where all of them came back.
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
    """Return the metric sums of log-odds, float [N]."""
    return classification_tally(logits.detach().numpy().astype(np.float64), cases.gone.numpy())


def _member(
    name: str, units: UserBatches, cases: Mapping[str, Mapping[Split, ChurnExamples]]
) -> ChurnMember:
    return ChurnMember(name, units, samples=len(units), customers=0, cases=cases)
