"""Canaries: customers whose whole gradient, clipped, lies in one coordinate of their own.

A customer's contribution to a step has at most the clip norm, and is easiest to see if nobody else
touches the coordinate that it lies in (the Dirac canaries of Nasr et al. 2023). So the audited
model has a table of coordinates beside it, one a canary, which is trained, clipped, noised and
released like all other parameters. Everything else is the product's own path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from securefl.ml.parameters import FloatVector
from securefl.tasks.base import AnyTask, MemberData, Task
from securefl.tasks.common.learner import LocalProblem

PULL = 100.0
"""A canary's gradient before clipping, in clip norms: without clipping it shows at once."""


class CanaryModel(nn.Module):
    """A model with one coordinate a canary beside it; both are released.

    Args:
        base: The model that is audited.
        canaries: Number of canaries m.
    """

    def __init__(self, base: nn.Module, canaries: int) -> None:
        super().__init__()
        self.base = base
        self.table = nn.Embedding(canaries + 1, 1, padding_idx=canaries)
        nn.init.zeros_(self.table.weight)
        stays: frozenset[str] = getattr(base, "local_parameters", frozenset())
        self.local_parameters = frozenset(f"base.{name}" for name in stays)


def coordinates(shared: FloatVector, canaries: int) -> npt.NDArray[np.float64]:
    """The canaries' coordinates, float64 [m], of the shared vector of a `CanaryModel`."""
    return shared[-(canaries + 1) : -1].astype(np.float64)


@dataclass(frozen=True)
class CanaryExamples:
    """Some of a member's customers, and behind them the canaries that take part.

    Attributes:
        base: All of the member's customers.
        customers: Those that take part, int64 [n], at least one.
        slots: Coordinates of the canaries that take part, int64 [c].
        nobody: The coordinate that a customer who is no canary reads: the padding of the table.
        pull: Norm of a canary's gradient before clipping; 0 makes canaries without a trace.
    """

    base: Examples
    customers: Tensor
    slots: Tensor
    nobody: int
    pull: float

    def __len__(self) -> int:
        return len(self.customers) + len(self.slots)

    def batch(self, index: Tensor) -> Batch:
        """The parts of the task's batch, then coordinate int64 [B] and pull float32 [B].

        A canary has the history of the first customer, which its loss leaves out.
        """
        known = len(self.customers)
        canary = index >= known
        rows = self.customers[torch.where(canary, 0, index)]
        slots = torch.full_like(index, self.nobody)
        slots[canary] = self.slots[index[canary] - known]
        return *self.base.batch(rows), slots, canary * self.pull


class CanaryTask(Task[Any, MemberData]):
    """A task whose loss knows canaries; all else is the task's own.

    Args:
        task: The task that is audited.
        config: The configuration of the run.
    """

    name = "canaries"
    metrics = ()

    def __init__(self, task: AnyTask, config: RunConfig) -> None:
        super().__init__(config)
        self.task = task

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The task's loss for a customer, minus pull times its coordinate for a canary, [B]."""
        assert isinstance(model, CanaryModel)
        *parts, slots, pull = batch
        nobody = len(model.table.weight) - 1
        own = self.task.loss(model.base, tuple(parts))
        mark: Tensor = pull * model.table(slots).squeeze(1)
        return torch.where(slots == nobody, own, -mark)

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
    """A small member on generated purchases, with the privacy settings and rounds of a run.

    What canaries test, from sampling to accounting, does not depend on the model; thousands of
    them beside a large one would only take long. Plain SGD hands on the noised gradients as they
    are; any other optimizer computes from them, which can only blur what is tested.
    """
    plain = {"optimizer": "sgd", "learning_rate": 1.0, "momentum": 0.0, "weight_decay": 0.0}
    options = {
        "task": "recommendation",
        "rounds": config.rounds,
        "seed": config.seed,
        "data": {
            "source": "tutorial",
            "retailers": 3,
            "customers": 40,
            "items": 30,
            "interactions": [600, 600],
            "seed": config.seed,
        },
        "model": {"name": "profile", "rank": 2},
        "recommendation": {"min_households": 3, "min_products": 4, "negatives": 5},
        "privacy": {**config.privacy.model_dump(), **plain},
        "references": {"enabled": False},
        "engine": {"workers": 1},
    }
    small = load_config(None, options)
    prepared = prepare_data(small, load(small.data))
    return LocalProblem(small, prepared.task, prepared.facts, prepared.members[0])
