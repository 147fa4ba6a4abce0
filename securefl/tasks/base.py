"""What a task is: how its data are cut, its model, its loss a unit, and its metrics.

A task knows nothing of rounds, engines, masks or noise; they know nothing of products or weeks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import Tensor, nn

from securefl.config.schema import RunConfig
from securefl.data.tables import RetailData, RetailerTables
from securefl.ml.batches import Batch, Examples
from securefl.ml.metrics.spec import MetricSpec, Split
from securefl.ml.metrics.sums import MetricSums


@dataclass(frozen=True)
class MemberData:
    """One member's data, ready to train and evaluate on. Tasks extend it with their held-out cases.

    Attributes:
        name: The member's name.
        examples: The training units.
        samples: The FedAvg weight of this member: its number of training samples.
        customers: Rows that the member's local parameters need (0 if the model has none).
    """

    name: str
    examples: Examples
    samples: int
    customers: int

    @property
    def units(self) -> int:
        """Number of units that privacy hides one of; a fact about customers, and not released."""
        return len(self.examples)


Series = npt.NDArray[np.float64]
"""Values by series and step, float64 [K, T]."""


class InputPerturbation(Protocol):
    """What a task has whose data are noised once a round, in the place of each step's gradients."""

    def bounded_series(self, member: Any) -> Series:  # noqa: ANN401 - of the task's own kind
        """What is noised: one privacy unit moves it by its bound, in the Euclidean norm."""

    def noised_units(
        self,
        member: Any,  # noqa: ANN401 - of the task's own kind
        facts: Any,  # noqa: ANN401 - of the task's own kind
        series: Series,
        deviation: float,
    ) -> Examples:
        """What the shared model trains on, from noised series alone.

        Args:
            member: Whose they are; nothing of its data but its name may be looked at.
            facts: What the members agree on.
            series: The mean of all that was released.
            deviation: Of the noise in each cell.
        """


FactsT = TypeVar("FactsT")
MemberT = TypeVar("MemberT", bound=MemberData)


class Task(ABC, Generic[FactsT, MemberT]):
    """One retail task. `FactsT` is what all members agree on before training."""

    name: ClassVar[str]
    metrics: ClassVar[tuple[MetricSpec, ...]]
    """Reported metrics; the first decides on validation (early stopping, tuning)."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config

    @abstractmethod
    def agree(self, data: RetailData) -> FactsT:
        """The public facts that fix the model's shape, from the agreed catalogue and calendar."""

    @abstractmethod
    def prepare(self, tables: RetailerTables, facts: FactsT) -> MemberT:
        """One member's training units and held-out cases, from its own tables alone."""

    @abstractmethod
    def pool(self, members: Sequence[MemberT], facts: FactsT) -> MemberT:
        """All members' data in one place: the reference that no consortium may have."""

    @abstractmethod
    def model(self, facts: FactsT, customers: int) -> nn.Module:
        """A freshly initialised model from torch's current random state.

        Modules whose class lists names in `local_parameters` keep those at the member.
        """

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The loss of each unit, float [B]; a unit's gradient is what privacy clips."""

    def units_in(self, member: MemberT, number: int) -> Examples:
        """The units that round `number`, from 1, trains on: the same in every round, by default."""
        del number
        return member.examples

    @property
    def input_perturbation(self) -> InputPerturbation | None:
        """How the task's data are noised; None where noise goes into each step's gradients.

        Local differential privacy asks for it, so that training names no task.
        """
        return None

    @abstractmethod
    def evaluate(self, model: nn.Module, member: MemberT, split: Split) -> dict[str, MetricSums]:
        """All metrics on one split; the model is in eval mode and no gradient is kept.

        Returns:
            Retailer to metric sums: one entry for a member, one a retailer for pooled data.
        """

    def evaluate_shared(
        self, model: nn.Module, member: MemberT, split: Split
    ) -> dict[str, MetricSums]:
        """The metrics of the shared parameters alone; the same where a member adds nothing."""
        return self.evaluate(model, member, split)

    def evaluate_local(self, member: MemberT, split: Split) -> dict[str, MetricSums] | None:
        """The metrics of what a member serves without any shared model; None without such a part.

        It is the reference of a party alone where it exists.
        """
        del member, split
        return None

    def local_outputs(self, model: nn.Module, member: MemberT) -> Mapping[str, pd.DataFrame]:
        """What a member reads off the result: tables by name, for its own folder and nobody else.

        They may hold anything of the member's own data, and never leave it.
        """
        del model, member
        return {}

    @property
    def noised_baseline_name(self) -> str | None:
        """The arm in which the obvious rule is noised within the run's budget; None without one."""
        return None

    def noised_baseline(self, member: MemberT, split: Split) -> dict[str, MetricSums]:
        """The metrics of the obvious rule, noised as if the whole budget were spent on it.

        Raises:
            NotImplementedError: If the task has no such rule (`noised_baseline_name`).
        """
        raise NotImplementedError(f"{self.name} has no rule that can be noised")

    @abstractmethod
    def baseline(self, member: MemberT, split: Split) -> dict[str, MetricSums]:
        """The same metrics for the obvious rule: popularity, or last value and moving average."""


AnyTask = Task[Any, Any]
