"""Interface of a task: splits of its data, model, loss per training example, and metrics.

A task knows nothing of rounds, engines, masks or noise; those know nothing of products or weeks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from securefl.config.schema import RunConfig
from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import InputError
from securefl.ml.batches import Batch, Examples, TensorExamples
from securefl.ml.item_rows import ItemRows
from securefl.ml.metrics.spec import MetricSpec, Split
from securefl.ml.metrics.sums import MetricSums, Ratio
from securefl.ml.metrics.unit_sums import UnitSums
from securefl.privacy.mechanisms import mechanism_for


@dataclass(frozen=True)
class MemberData:
    """One member's data, ready for training and evaluation; tasks add their held-out cases.

    Attributes:
        name: The member's name.
        examples: The training examples.
        samples: The FedAvg weight of this member: its number of training samples.
        customers: Rows that the member's local parameters need (0 if the model has none).
    """

    name: str
    examples: Examples
    samples: int
    customers: int

    @property
    def units(self) -> int:
        """Number of privacy units; it says something about customers and is never released."""
        return len(self.examples)


@dataclass(frozen=True)
class UnableMember(MemberData):
    """A member that takes no part, as its data are too thin for the task.

    Attributes:
        reason: What is missing, with the member's name.
    """

    reason: str


Series = npt.NDArray[np.float64]
"""Values by series and step, float64 [K, T]."""


class InputPerturbation(Protocol):
    """Input perturbation: the task's data are noised once a round, instead of each gradient."""

    def series_shape(self, member: Any) -> tuple[int, int]:  # noqa: ANN401 - as below
        """Return K and T, which follow from the facts alone."""

    def bounded_series(self, member: Any) -> Series:  # noqa: ANN401 - of the task's own kind
        """Return the series to be noised, float64 [K, T].

        Adding or removing one privacy unit moves them by at most its bound, in Euclidean norm.
        """

    def noised_units(
        self,
        member: Any,  # noqa: ANN401 - of the task's own kind
        facts: Any,  # noqa: ANN401 - of the task's own kind
        series: Series,
        deviation: float,
    ) -> Examples:
        """Return the shared model's training examples, from noised series alone.

        Args:
            member: Owner of the series; of its data only the name may be read, or the result would
                no longer be post-processing of a private release.
            facts: What the members agree on.
            series: Mean of all released series, float64 [K, T].
            deviation: Standard deviation of the noise in each cell.
        """


@dataclass(frozen=True)
class Judged:
    """A member's view of a shared model on its own held-out cases.

    Attributes:
        parts: The decisive metric by part of the cases: "all", and departments where there are any.
        lists: Lists in which each product stands, int64 [I]; None where nothing is listed.
        cases: Number of lists.
    """

    parts: Mapping[str, Ratio]
    lists: npt.NDArray[np.int64] | None = None
    cases: int = 0

    @classmethod
    def by_department(
        cls,
        gains: npt.NDArray[np.float64],
        departments: npt.NDArray[np.int64],
        lists: npt.NDArray[np.int64],
    ) -> Judged:
        """Add up the gain of each case, [n], overall and by its department, int64 [n] or [0]."""
        parts = {"all": Ratio(float(gains.sum()), float(len(gains)))}
        for code in sorted(set(departments.tolist())):
            own = gains[departments == code]
            parts[f"department {code}"] = Ratio(float(own.sum()), float(len(own)))
        return cls(parts, lists, len(gains))

    @property
    def exposure(self) -> npt.NDArray[np.float64] | None:
        """Share of the lists in which each product stands, float64 [I]; None without lists."""
        return None if self.lists is None else self.lists / max(self.cases, 1)


FactsT = TypeVar("FactsT")
MemberT = TypeVar("MemberT", bound=MemberData)


class Task(ABC, Generic[FactsT, MemberT]):
    """A retail task; `FactsT` is what all members agree on before training."""

    name: ClassVar[str]
    metrics: ClassVar[tuple[MetricSpec, ...]]
    """Reported metrics; the first selects the round on validation (early stopping, tuning)."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config

    @property
    def hides_units(self) -> bool:
        """Whether the run hides single units, so that no refusal may depend on one of them.

        A member without any unit then takes part like the others, with noise alone.
        """
        return mechanism_for(self.config.privacy).by_example

    @property
    def sums_once(self) -> bool:
        """Whether members add sums to the model in round 1 alone, and in no repetition of it."""
        return False

    @property
    def scored_metrics(self) -> tuple[MetricSpec, ...]:
        """All metrics of an evaluation with their denominators, the reported ones among them.

        It follows from the configuration alone: it is the layout of the members' sums.
        """
        return self.metrics

    @abstractmethod
    def agree(self, data: RetailData) -> FactsT:
        """Return the public metadata that fixes the model's shape, from catalogue and calendar."""

    @abstractmethod
    def prepare(self, tables: RetailerTables, facts: FactsT) -> MemberT:
        """Return one member's training examples and held-out cases, from its own tables alone."""

    @abstractmethod
    def pool(self, members: Sequence[MemberT], facts: FactsT) -> MemberT:
        """Return all members' data centralized, for a baseline that no consortium may compute."""

    @abstractmethod
    def model(self, facts: FactsT, customers: int) -> nn.Module:
        """Return a freshly initialised model, from torch's current random state.

        Parameters that a module's class lists in `local_parameters` stay at the member.

        Args:
            facts: What the members agree on.
            customers: Rows of the member's local parameters; `MemberData.customers`.
        """

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of each example, float [B].

        Privacy clips each example's gradient, which must therefore depend on that example and on
        public metadata alone.
        """

    def units_in(self, member: MemberT, number: int) -> Examples:
        """Return the examples of round `number`, counted from 1; by default the same in all."""
        del number
        return member.examples

    def item_rows(self, model: nn.Module, facts: FactsT) -> ItemRows | None:
        """Return which slices of a model's parameters stand for which products.

        By them a model goes on with next month's products. By default None: a model whose rows
        nobody names, or one that is computed from one month's data alone, is not carried over.

        Args:
            model: The model.
            facts: What its members agreed on.
        """
        del model, facts
        return None

    def by_itself(self) -> Self:
        """Return the task for a retailer that trains without a federation; by default the same."""
        return self

    @property
    def input_perturbation(self) -> InputPerturbation | None:
        """How the task's data are noised; None where noise is added to each step's gradients.

        Local differential privacy reads it here, so that the training code names no task.
        """
        return None

    @abstractmethod
    def evaluate(self, model: nn.Module, member: MemberT, split: Split) -> dict[str, MetricSums]:
        """Return all metrics on one split; the model is in eval mode, without gradients.

        Returns:
            Retailer to metric sums: one entry for a member, one per retailer for pooled data.
        """

    def evaluate_shared(
        self, model: nn.Module, member: MemberT, split: Split
    ) -> dict[str, MetricSums]:
        """Return the metrics of the shared parameters alone, without personalization."""
        return self.evaluate(model, member, split)

    def unit_scores(self, model: nn.Module, member: MemberT, split: Split) -> UnitSums:
        """Return what each privacy unit adds to the scores that the task bounds.

        Those of `ModelSpec.scores`. No unit's part may depend on other units: no weight, list or
        normalisation that was fitted to them, and no row of a batch beside them.

        Raises:
            NotImplementedError: If the task bounds no score.
        """
        raise NotImplementedError(f"{self.name} has no score with a bound for one unit")

    def judged(self, model: nn.Module, member: MemberT) -> Judged:
        """Return what the member judges a shared model by, from its own validation cases alone.

        By default the decisive metric over all cases; nothing of it leaves the member as it is.
        """
        sums = self.evaluate(model, member, "validation")[member.name]
        return Judged({"all": sums.ratios[self.metrics[0].name]})

    def evaluate_local(self, member: MemberT, split: Split) -> dict[str, MetricSums] | None:
        """Return the metrics of the member's local model alone; None without such a model.

        Where it exists, it is the local-only baseline.
        """
        del member, split
        return None

    def local_outputs(self, model: nn.Module, member: MemberT) -> Mapping[str, pd.DataFrame]:
        """Return the member's local outputs, as tables by name, for its own folder alone.

        They may contain any of the member's own data, and are never sent.
        """
        del model, member
        return {}

    @property
    def noised_baseline_name(self) -> str | None:
        """Name of the differentially private baseline in the results; None without one."""
        return None

    def noised_baseline(self, member: MemberT, split: Split) -> dict[str, MetricSums]:
        """Return the metrics of the baseline released under the whole privacy budget.

        Raises:
            NotImplementedError: If the task has none (`noised_baseline_name`).
        """
        raise NotImplementedError(f"{self.name} has no baseline that can be noised")

    @abstractmethod
    def baseline(self, member: MemberT, split: Split) -> dict[str, MetricSums]:
        """Return the metrics of the naive baseline, such as popularity or a moving average."""


AnyTask = Task[Any, Any]


def able_or_not(task: AnyTask, tables: RetailerTables, facts: Any) -> MemberData:  # noqa: ANN401
    """Return a retailer's prepared data, or why it cannot take part; others go on without it.

    Args:
        task: The task.
        tables: The retailer's tables.
        facts: What the members agree on, of the task's own kind.

    Raises:
        InputError: It cannot take part, and the run hides units: a refusal that others see must
            not depend on a customer.
    """
    try:
        prepared: MemberData = task.prepare(tables, facts)
    except InputError as error:
        if task.hides_units:
            raise
        nothing = TensorExamples((torch.zeros(0),))
        return UnableMember(tables.name, nothing, samples=0, customers=0, reason=str(error))
    return prepared
