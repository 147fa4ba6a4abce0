"""Series and steps as rows of tensors, split by time into training, validation and test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from securefl.ml.batches import Batch
from securefl.ml.metrics.spec import Split
from securefl.tasks.demand.features import Float32s
from securefl.tasks.demand.series import Floats, Ints


@dataclass(frozen=True)
class ForecastExamples:
    """Forecasts to make, one series at one step each.

    Attributes:
        batch: Inputs float32 [N, F], series int64 [N], level float32 [N] and demand in units a
            step over the horizon, float32 [N].
        baseline: The moving averages' forecasts in units, float32 [R, N].
    """

    batch: Batch
    baseline: Tensor

    @property
    def demand(self) -> Tensor:
        """Units sold, float32 [N]."""
        return self.batch[3]

    def at(self, rows: Tensor) -> ForecastExamples:
        """Return some of the cases, int64 [m]."""
        batch = tuple(column[rows] for column in self.batch)
        return ForecastExamples(batch, self.baseline[:, rows])


@dataclass(frozen=True)
class Grid:
    """Inputs and demand of K series at T steps.

    Attributes:
        inputs: Float32 [K, T, F].
        level: Float32 [K, T].
        baseline: Float32 [R, K, T].
        demand: Units, float64 [K, T].
        horizon: Number of steps that a forecast covers, its own included.
    """

    inputs: Float32s
    level: Float32s
    baseline: Float32s
    demand: Floats
    horizon: int = 1

    def cases(self, series: Ints, steps: range) -> ForecastExamples:
        """Return the examples of some series (int64 [S], vocabulary indices) at some steps."""
        block = np.ix_(series, np.array(steps))
        inputs, demand = self.inputs[block], ahead(self.demand, self.horizon)[block]
        return ForecastExamples(
            batch=(
                torch.from_numpy(inputs.reshape(-1, inputs.shape[2])),
                torch.from_numpy(np.repeat(series, len(steps))),
                torch.from_numpy(self.level[block].reshape(-1)),
                torch.from_numpy(demand.reshape(-1).astype(np.float32)),
            ),
            baseline=torch.from_numpy(
                np.stack([rule[block].reshape(-1) for rule in self.baseline], axis=0)
            ),
        )


def ahead(demand: Floats, horizon: int) -> Floats:
    """Return mean demand over each step's horizon, of fewer steps at the end; [K, T]."""
    sums = np.concatenate([np.zeros((len(demand), 1)), np.cumsum(demand, axis=1)], axis=1)
    start = np.arange(demand.shape[1])
    end = np.minimum(start + horizon, demand.shape[1])
    result: Floats = (sums[:, end] - sums[:, start]) / (end - start)
    return result


def time_cuts(first: int, steps: int, validation: int, test: int) -> dict[Split, range]:
    """Return the steps of training, validation and test; the last ones are held out.

    Args:
        first: First possible training step.
        steps: Total number of steps.
        validation: Number of steps before the test.
        test: Number of steps at the end.
    """
    return {
        "train": range(first, steps - validation - test),
        "validation": range(steps - validation - test, steps - test),
        "test": range(steps - test, steps),
    }
