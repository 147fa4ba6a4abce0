"""One party's learning problem: its data with the task's model and loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch
from torch import nn

from securefl.config.schema import RunConfig, TrainingSettings
from securefl.ml.batches import Examples
from securefl.ml.device import choose_device, seed_draws
from securefl.ml.metrics.spec import Split
from securefl.ml.metrics.sums import MetricSums
from securefl.ml.metrics.unit_sums import UnitSums
from securefl.ml.seeds import derive_seed
from securefl.ml.sgd import LocalTrainer
from securefl.tasks.base import AnyTask, Judged, MemberData


@dataclass(frozen=True)
class LocalProblem:
    """A party's data and the run's task; all training code works on it.

    Attributes:
        config: The run's configuration.
        task: The run's task.
        facts: What the task's members agreed on.
        data: The party's own data.
    """

    config: RunConfig
    task: AnyTask
    facts: Any
    data: MemberData

    def by_itself(self) -> LocalProblem:
        """Return the problem of a retailer that trains without a federation."""
        return replace(self, task=self.task.by_itself())

    def seed(self, *purpose: str | int) -> int:
        """Return a seed for one purpose of this party."""
        return derive_seed(self.config.seed, self.data.name, *purpose)

    def units(self, number: int) -> Examples:
        """Return the training examples of round `number`."""
        return self.task.units_in(self.data, number)

    def fresh_model(self, purpose: str) -> nn.Module:
        """Return a newly initialised model on the CPU, deterministic in the seed."""
        seed_draws(self.seed(purpose))
        return self.task.model(self.facts, self.data.customers)

    def trainer(self, model: nn.Module, settings: TrainingSettings) -> LocalTrainer:
        """Return a trainer on this party's examples."""
        device = choose_device(self.config.engine.device)
        return LocalTrainer(model, self.data.examples, self.task.loss, settings, device)

    def score_shared(self, model: nn.Module) -> dict[str, MetricSums]:
        """Return the test metrics of the shared parameters alone, by retailer."""
        model.to("cpu").eval()
        with torch.no_grad():
            return self.task.evaluate_shared(model, self.data, "test")

    def score_units(self, model: nn.Module) -> UnitSums:
        """Return what each privacy unit adds to the bounded test metrics."""
        model.to("cpu").eval()
        with torch.no_grad():
            return self.task.unit_scores(model, self.data, "test")

    def score_local(self) -> dict[str, MetricSums] | None:
        """Return the test metrics of the party's local model alone; None without one."""
        with torch.no_grad():
            return self.task.evaluate_local(self.data, "test")

    def local_outputs(self, model: nn.Module) -> Mapping[str, pd.DataFrame]:
        """Return the party's local outputs, as tables by name."""
        model.to("cpu").eval()
        with torch.no_grad():
            found: Mapping[str, pd.DataFrame] = self.task.local_outputs(model, self.data)
            return found

    def score(self, model: nn.Module, split: Split) -> dict[str, MetricSums]:
        """Return the metrics of a model on one split by retailer, computed on the CPU."""
        model.to("cpu").eval()
        with torch.no_grad():
            return self.task.evaluate(model, self.data, split)

    def judged(self, model: nn.Module) -> Judged:
        """Return what the party judges a model by, on its own validation cases."""
        model.to("cpu").eval()
        with torch.no_grad():
            return self.task.judged(model, self.data)
