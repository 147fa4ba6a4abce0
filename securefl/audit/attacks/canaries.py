"""Canaries: customers whose whole clipped gradient lies in one dedicated coordinate.

A customer's contribution to a step has at most the clip norm, and is most visible in a coordinate
that no other customer changes (Dirac canaries, Nasr et al. 2023). The audited model therefore gets
a table with one coordinate for each canary, which is trained, clipped, noised and released like all
other parameters. All else is the production code path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from securefl.config.load import load_config
from securefl.config.schema import RunConfig
from securefl.data.sources.registry import load
from securefl.data.tables import RetailData, RetailerTables
from securefl.federation.runs.prepare import prepare_data
from securefl.ml.batches import Batch, Examples
from securefl.ml.metrics.spec import Split
from securefl.ml.metrics.sums import MetricSums
from securefl.ml.vectors import UpdateVector
from securefl.tasks.base import AnyTask, MemberData, Task
from securefl.tasks.common.learner import LocalProblem

PULL = 100.0
"""Norm of a canary's gradient before clipping, in clip norms; missing clipping is then evident."""


class CanaryModel(nn.Module):
    """The audited model with one additional coordinate for each canary; both are released.

    Args:
        base: The audited model.
        canaries: Number of canaries m.
    """

    def __init__(self, base: nn.Module, canaries: int) -> None:
        super().__init__()
        self.base = base
        self.table = nn.Embedding(canaries + 1, 1, padding_idx=canaries)
        nn.init.zeros_(self.table.weight)
        stays: frozenset[str] = getattr(base, "local_parameters", frozenset())
        self.local_parameters = frozenset(f"base.{name}" for name in stays)


def coordinates(shared: UpdateVector, canaries: int) -> npt.NDArray[np.float64]:
    """Return the canaries' coordinates, float64 [m], in a shared vector of a `CanaryModel`."""
    # The table is the last parameter, and its last row the padding.
    scores: npt.NDArray[np.float64] = shared[-(canaries + 1) : -1].astype(np.float64)
    return scores


@dataclass(frozen=True)
class CanaryExamples:
    """The included customers of a member, followed by the included canaries.

    Attributes:
        base: Examples of all customers of the member.
        customers: Indices of the included customers, int64 [n], at least one.
        slots: Coordinates of the included canaries, int64 [c].
        padding: The coordinate of all real customers, which is the padding row of the table.
        pull: Norm of a canary's gradient before clipping; 0 gives canaries without a signal.
        drawn: Filled with the index of each unit that is read for a step, as often as it is.
    """

    base: Examples
    customers: Tensor
    slots: Tensor
    padding: int
    pull: float
    drawn: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.customers) + len(self.slots)

    def batch(self, index: Tensor) -> Batch:
        """Return the task's batch, followed by coordinate int64 [B] and pull float32 [B].

        A canary carries the features of the first customer, which its loss ignores.
        """
        known = len(self.customers)
        # A piece is filled up with its last unit, and no step has a unit twice.
        self.drawn.extend(torch.unique(index).tolist())
        canary = index >= known
        rows = self.customers[torch.where(canary, 0, index)]
        slots = torch.full_like(index, self.padding)
        slots[canary] = self.slots[index[canary] - known]
        return *self.base.batch(rows), slots, canary * self.pull


class CanaryTask(Task[Any, MemberData]):
    """The audited task, with a loss that handles canaries.

    Args:
        task: The audited task.
        config: Configuration of the run.
    """

    name = "canaries"
    metrics = ()

    def __init__(self, task: AnyTask, config: RunConfig) -> None:
        super().__init__(config)
        self.task = task

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the losses, [B]: the task's for customers, -pull * coordinate for canaries."""
        assert isinstance(model, CanaryModel)
        *parts, slots, pull = batch
        padding = len(model.table.weight) - 1
        task_loss = self.task.loss(model.base, tuple(parts))
        signal: Tensor = pull * model.table(slots).squeeze(1)
        return torch.where(slots == padding, task_loss, -signal)

    def agree(self, data: RetailData) -> object:
        """See `Task.agree`."""
        return self.task.agree(data)

    def prepare(self, tables: RetailerTables, facts: object) -> MemberData:
        """See `Task.prepare`."""
        member: MemberData = self.task.prepare(tables, facts)
        return member

    def pool(self, members: Sequence[MemberData], facts: object) -> MemberData:
        """See `Task.pool`."""
        pooled: MemberData = self.task.pool(members, facts)
        return pooled

    def model(self, facts: object, customers: int) -> nn.Module:
        """See `Task.model`."""
        return self.task.model(facts, customers)

    def evaluate(self, model: nn.Module, member: MemberData, split: Split) -> dict[str, MetricSums]:
        """See `Task.evaluate`."""
        return self.task.evaluate(model, member, split)

    def baseline(self, member: MemberData, split: Split) -> dict[str, MetricSums]:
        """See `Task.baseline`."""
        return self.task.baseline(member, split)


def small_member(config: RunConfig) -> LocalProblem:
    """Return a small member with generated purchases and the run's privacy settings and rounds.

    What canaries test, from sampling to accounting, does not depend on the model, and a large model
    only costs time. Plain SGD releases the noised gradients unchanged; other optimizers
    post-process them, which can only weaken the attack.
    """
    plain = {"optimizer": "sgd", "learning_rate": 1.0, "momentum": 0.0, "weight_decay": 0.0}
    return generated_member(
        config,
        rounds=config.rounds,
        model={"name": "profile", "rank": 2},
        privacy=plain,
        recommendation={"min_households": 3, "min_products": 4, "negatives": 5},
    )


def generated_member(
    config: RunConfig,
    *,
    rounds: int,
    model: dict[str, Any],
    privacy: dict[str, Any],
    **sections: Any,  # noqa: ANN401 - sections of a configuration
) -> LocalProblem:
    """Return a small member of the recommender with generated data and the run's seed and budget.

    Args:
        config: The run.
        rounds: Its rounds.
        model: Its model.
        privacy: What its privacy settings have beside the run's.
        **sections: Further sections of its configuration.
    """
    options = {
        "task": "recommendation",
        "rounds": rounds,
        "seed": config.seed,
        "data": {
            "source": "tutorial",
            "retailers": 3,
            "customers": 40,
            "items": 30,
            "interactions": [600, 600],
            "seed": config.seed,
        },
        "model": model,
        "privacy": {**config.privacy.model_dump(), **privacy},
        **sections,
        "references": {"enabled": False},
        "engine": {"workers": 1},
    }
    small = load_config(None, options)
    prepared = prepare_data(small, load(small.data))
    return LocalProblem(small, prepared.task, prepared.facts, prepared.members[0])
