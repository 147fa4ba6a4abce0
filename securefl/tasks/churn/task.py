"""Churn: which customers of a retailer will not come back, from how they bought so far.

A case is a customer at a cut-off: what she did before it is known, and whether she comes back
within the weeks after it has to be foreseen. A customer's cases at all training cut-offs are one
unit, so that what is clipped for her covers all of them. Under a budget a retailer serves the
shared model in a mixture with one of its own, which is never released.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from securefl.config.schema import RunConfig
from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import DataError
from securefl.ml.batches import Batch
from securefl.ml.metrics.classification import classification_tally
from securefl.ml.metrics.score_blending import best_share
from securefl.ml.metrics.spec import MetricSpec, Split
from securefl.ml.metrics.sums import MetricSums
from securefl.tasks.base import MemberData, Task
from securefl.tasks.churn.examples import Cases, ChurnFacts, RetailerCases, agreed_facts, cutoffs
from securefl.tasks.churn.settings import ChurnSettings, LogisticSettings, MlpSettings
from securefl.tasks.common.contribution_bounds import UserBatches
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.local_baseline import own_model

_STEPS: Final = 25
_RIDGE: Final = 1e-3


class Classifier(nn.Module):
    """Log-odds of not coming back: a weighted sum, and a hidden layer's correction where asked for.

    Args:
        settings: Sizes.
        inputs: Number of features F.
    """

    def __init__(self, settings: LogisticSettings | MlpSettings, inputs: int) -> None:
        super().__init__()
        self.direct = nn.Linear(inputs, 1)
        nn.init.zeros_(self.direct.weight)
        nn.init.constant_(self.direct.bias, math.log(1 / (1 / settings.expected_share - 1)))
        self.hidden: nn.Sequential | None = None
        if isinstance(settings, MlpSettings):
            head = nn.Linear(settings.hidden, 1, bias=False)
            nn.init.zeros_(head.weight)
            layer = nn.Linear(inputs, settings.hidden)
            self.hidden = nn.Sequential(layer, nn.ReLU(), nn.Dropout(settings.dropout), head)

    def forward(self, features: Tensor) -> Tensor:
        """Log-odds, float [...], from features [..., F]."""
        centred = features - 0.5
        score: Tensor = self.direct(centred)
        if self.hidden is not None:
            score = score + self.hidden(centred)
        return score.squeeze(-1)


@dataclass(frozen=True)
class ChurnMember(MemberData):
    """Customers with their training cases, and the cases that are evaluated.

    Attributes:
        examples: Customers as units: features, whether she was gone, and a mask.
        cases: Retailer to split to cases: one retailer for a member, all of them for pooled data.
    """

    examples: UserBatches
    cases: Mapping[str, Mapping[Split, Cases]]


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
        self.cuts = config.cuts
        assert isinstance(config.model, LogisticSettings | MlpSettings)
        self.settings = config.model

    def agree(self, data: RetailData) -> ChurnFacts:
        """The period and the catalogue; see `agreed_facts`."""
        return agreed_facts(data, self.cuts)

    def prepare(self, tables: RetailerTables, facts: ChurnFacts) -> ChurnMember:
        """The retailer's customers at all cut-offs.

        Raises:
            DataError: If no customer has bought enough to be trained on.
        """
        cut = RetailerCases(tables, facts, self.cuts)
        cases = {split: cut.at(moments) for split, moments in cutoffs(facts.end, self.cuts).items()}
        training = cases["train"]
        if not len(training.customers):
            raise DataError(
                f"{tables.name}: no customer bought {self.cuts.min_baskets} baskets before a "
                "cut-off (churn.min_baskets)"
            )
        columns = (training.features, training.gone)
        units = UserBatches.of(training.customers, columns, self.cuts.training_cutoffs)
        return _member(tables.name, units, {tables.name: cases})

    def pool(self, members: Sequence[ChurnMember], facts: ChurnFacts) -> ChurnMember:
        """All retailers' customers; one of several retailers is as many units."""
        del facts
        units = UserBatches.joined([member.examples for member in members])
        cases = {name: own for member in members for name, own in member.cases.items()}
        return _member("pooled", units, cases)

    def model(self, facts: ChurnFacts, customers: int) -> Classifier:
        """The classifier; all of its parameters are shared."""
        return Classifier(self.settings, self.cuts.features)

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
            name: _tally(model(own[split].features), own[split])
            for name, own in member.cases.items()
        }

    def baseline(self, member: ChurnMember, split: Split) -> dict[str, MetricSums]:
        """The same for the longer away, the likelier gone: each retailer's own rule."""
        return {
            name: _tally(recency_rule(own["train"], own[split]), own[split])
            for name, own in member.cases.items()
        }


@dataclass(frozen=True)
class ServingMember(ChurnMember):
    """A member with a model of its own.

    Attributes:
        config: The run's configuration.
        facts: What the members agree on.
    """

    config: RunConfig
    facts: ChurnFacts

    @cached_property
    def own(self) -> nn.Module:
        """The own model, trained without noise when it is first served."""
        return own_model(LocalProblem(self.config, ChurnTask(self.config), self.facts, self))


class PrivateChurnTask(ChurnTask):
    """Serves the shared model in a mixture with each retailer's own."""

    def prepare(self, tables: RetailerTables, facts: ChurnFacts) -> ServingMember:
        """See `ChurnTask.prepare`."""
        return self._serving(super().prepare(tables, facts), facts)

    def pool(self, members: Sequence[ChurnMember], facts: ChurnFacts) -> ServingMember:
        """See `ChurnTask.pool`."""
        return self._serving(super().pool(members, facts), facts)

    def evaluate(
        self, model: nn.Module, member: ChurnMember, split: Split
    ) -> dict[str, MetricSums]:
        """Metrics of what is served, the share of the shared model chosen on validation."""
        tallies = {}
        for name, own in member.cases.items():
            validation = _Mixture(model, _serving_member(member).own, own["validation"])
            share = best_share(validation.log_loss)
            tallies[name] = _Mixture(model, _serving_member(member).own, own[split]).tally(share)
        return tallies

    def released(
        self, model: nn.Module, member: ChurnMember, split: Split
    ) -> dict[str, MetricSums]:
        """Metrics of the shared model, and of nothing else."""
        return super().evaluate(model, member, split)

    def own(self, member: ChurnMember, split: Split) -> dict[str, MetricSums]:
        """Metrics of the own model, and of nothing else."""
        return super().evaluate(_serving_member(member).own, member, split)

    def _serving(self, member: ChurnMember, facts: ChurnFacts) -> ServingMember:
        return ServingMember(**vars(member), config=self.config, facts=facts)


class _Mixture:
    """Weighted means of what two models say of the same cases, on the scale of log-odds."""

    def __init__(self, shared: nn.Module, own: nn.Module, cases: Cases) -> None:
        self.shared: Tensor = shared(cases.features)
        self.own: Tensor = own(cases.features)
        self.cases = cases

    def tally(self, share: float) -> MetricSums:
        return _tally(share * self.shared + (1 - share) * self.own, self.cases)

    def log_loss(self, share: float) -> float:
        return self.tally(share).ratios["log_loss"].numerator


def recency_rule(known: Cases, cases: Cases) -> Tensor:
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


def _tally(logits: Tensor, cases: Cases) -> MetricSums:
    return classification_tally(logits.detach().numpy().astype(np.float64), cases.gone.numpy())


def _member(
    name: str, units: UserBatches, cases: Mapping[str, Mapping[Split, Cases]]
) -> ChurnMember:
    return ChurnMember(name, units, samples=len(units), customers=0, cases=cases)


def _serving_member(member: ChurnMember) -> ServingMember:
    if not isinstance(member, ServingMember):
        raise TypeError(f"{member.name} has no model of its own")
    return member
