"""Probabilities that customers will not come back, from what a member serves after a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from securefl.data.tables import RetailerTables
from securefl.errors import InputError
from securefl.ml.metrics.spec import Split
from securefl.ml.metrics.sums import MetricSums
from securefl.tasks.base import AnyTask
from securefl.tasks.churn.examples import ChurnExamples, ChurnFacts, RetailerObservations
from securefl.tasks.churn.personalized import Mixture, PrivateChurnTask, personalized_member
from securefl.tasks.churn.rfm_features import WEEK
from securefl.tasks.churn.task import ChurnMember, ChurnTask, churn_metrics
from securefl.tasks.common.held_out import HeldOut, HeldOutProbabilities
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.serving import (
    Graph,
    OwnPart,
    Request,
    ServedModel,
    Verb,
    load_rows,
    parts_of_cases,
)

_DAY = WEEK // 7


@dataclass(frozen=True)
class LocalClassifier:
    """A member's local model, and how much of the shared one is mixed in.

    Attributes:
        model: The local model.
        share: Weight of the shared one.
    """

    model: nn.Module
    share: float


class ServedChurn(ServedModel):
    """Says of a member's customers how probably they will not come back.

    Args:
        task: The task.
        facts: What the members agreed on.
        model: The shared classifier.
        own: The local one; None where the shared one is served alone.
    """

    verb: ClassVar[Verb] = "predict_proba"
    options: ClassVar[frozenset[str]] = frozenset({"as_of", "customers"})
    use: ClassVar[str] = "Whom to win back: how probably a customer stays away for some weeks."
    limits: ClassVar[tuple[str, ...]] = (
        "It speaks of customers with enough baskets who bought lately enough, and of no others.",
        "Its probabilities are those whose calibration error was measured; they name no reason.",
    )
    task: ChurnTask
    facts: ChurnFacts

    def __init__(
        self, task: AnyTask, facts: ChurnFacts, model: nn.Module, own: LocalClassifier | None
    ) -> None:
        super().__init__(task, facts, model)
        self.own = own

    @classmethod
    def of_member(cls, problem: LocalProblem, model: nn.Module) -> Self:
        """See `ServedModel`."""
        task, member, own = problem.task, problem.data, None
        assert isinstance(member, ChurnMember)
        if isinstance(task, PrivateChurnTask):
            local = personalized_member(member).local
            share = task.chosen_share(model, local, member.cases[member.name]["validation"])
            own = LocalClassifier(local, share)
        return cls(task, problem.facts, model, own)

    @classmethod
    def opened(cls, task: AnyTask, facts: Any, model: nn.Module, own: OwnPart) -> Self:  # noqa: ANN401
        """See `ServedModel`."""
        local = None
        if isinstance(task, PrivateChurnTask):
            classifier = task.exact(task.config).model(facts, 0)
            load_rows(classifier, own.tensors)
            local = LocalClassifier(classifier.eval(), float(own.settings["share"]))
        return cls(task, facts, model, local)

    def own_part(self) -> OwnPart:
        """See `ServedModel`."""
        if self.own is None:
            return OwnPart({}, {})
        return OwnPart(self.own.model.state_dict(), {"share": self.own.share})

    def evaluate(self, member: Any, split: Split) -> dict[str, MetricSums]:  # noqa: ANN401
        """See `ServedModel`."""
        assert isinstance(member, ChurnMember)
        return {
            name: churn_metrics(self.logits(splits[split]), splits[split])
            for name, splits in member.cases.items()
        }

    def parts(self, member: Any, count: int) -> Sequence[ChurnMember]:  # noqa: ANN401
        """See `ServedModel`; by customer."""
        assert isinstance(member, ChurnMember)
        return parts_of_cases(member, count, lambda cases: torch.arange(len(cases.gone)))

    @torch.no_grad()
    def held_out(self, member: Any, tables: RetailerTables) -> HeldOut | None:  # noqa: ANN401
        """See `ServedModel`."""
        del tables
        assert isinstance(member, ChurnMember)
        cases = member.cases[member.name]["test"]
        if not len(cases.gone):
            return None
        probability = torch.sigmoid(self.logits(cases).double()).numpy()
        weeks = self.task.split.horizon_weeks
        return HeldOutProbabilities(probability, cases.gone.bool().numpy(), weeks)

    def logits(self, cases: ChurnExamples) -> Tensor:
        """Return the log-odds of cases, float32 [N]."""
        if self.own is None:
            found: Tensor = self.model(cases.features)
            return found
        return Mixture(self.model, self.own.model, cases).logits(self.own.share)

    def graph(self) -> Graph:
        """See `ServedModel`."""
        count = self.task.split.features

        def example(seed: int) -> tuple[Tensor, ...]:
            random = torch.Generator().manual_seed(seed)
            rows = int(torch.randint(1, 30, (), generator=random))
            return (torch.rand(rows, count, generator=random),)

        return Graph(
            network=ChurnNetwork(self),
            inputs={
                "features": f"features of customers, float32 [N, {count}] (docs/results/churn.md)"
            },
            output="probability",
            free={"features": {0: "customers"}},
            example=example,
        )

    @torch.no_grad()
    def predict(self, tables: RetailerTables, request: Request) -> Iterator[pd.DataFrame]:
        """Yield `customer`, `probability`, `as_of` and `until`, see `ServedModel`.

        The probability is that a customer buys nothing from `as_of` until the day before `until`.
        Customers are those who would be cases: with enough baskets, and active before.
        """
        moment = self._moment(tables, request.as_of)
        cases = RetailerObservations(tables, self.facts, self.task.split).at([moment])
        if request.customers is not None:
            asked = np.isin(cases.customers.numpy(), request.customers)
            cases = cases.at(torch.from_numpy(np.flatnonzero(asked)))
        if not len(cases.customers):
            raise InputError(
                "no customer bought often and lately enough to be a case (churn.min_baskets,"
                " churn.active_weeks)"
            )
        until = moment + self.task.split.horizon_weeks * WEEK
        yield pd.DataFrame(
            {
                "customer": cases.customers.numpy(),
                "probability": torch.sigmoid(self.logits(cases).double()).numpy(),
                "as_of": np.datetime64(moment, "ns").astype("datetime64[s]"),
                "until": np.datetime64(until, "ns").astype("datetime64[s]"),
            }
        )

    def _moment(self, tables: RetailerTables, as_of: np.datetime64 | None) -> int:
        """Return the observation date, in ns since 1970: by default the day after the data."""
        if as_of is not None:
            return int(as_of.astype("datetime64[ns]").astype(np.int64))
        times = tables.transactions["time"].to_numpy("datetime64[ns]")
        if not len(times):
            raise InputError("there is no purchase")
        return int(times.max().astype(np.int64)) // _DAY * _DAY + _DAY


class ChurnNetwork(nn.Module):
    """Probabilities of customers not to come back, as a function of tensors.

    Args:
        served: What is served.
    """

    def __init__(self, served: ServedChurn) -> None:
        super().__init__()
        self.shared, self._served = served.model, served
        self.local = None if served.own is None else served.own.model

    def forward(self, features: Tensor) -> Tensor:
        """Return float32 [N] for features of the customers, [N, F]."""
        cases = ChurnExamples(features, features, features)
        return torch.sigmoid(self._served.logits(cases))
