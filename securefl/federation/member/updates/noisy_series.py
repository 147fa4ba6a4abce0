"""Input perturbation: noise in the series, so that training on them is post-processing.

In each round the member releases its bounded series again with fresh noise, and trains on the mean
of all its releases so far. After R rounds the mean has the noise of one release for the whole
budget; a run that ends earlier has spent less.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import nn

from securefl.ml.sgd import LocalTrainer
from securefl.ml.tensor_io import read_tensors, try_room, write_tensors
from securefl.privacy.accounting.accountant import PrivacyAccountant
from securefl.privacy.accounting.events import SampledGaussian
from securefl.privacy.noise.csprng import AesCtrRng
from securefl.privacy.noise.grid import Grid, GridNoise
from securefl.tasks.base import Series
from securefl.tasks.common.learner import LocalProblem

SERIES = "series.safetensors"
_ROOM = "series.room"
_HEADER = 1 << 12
"""Bytes of such a file beside the sum, at most."""


class NoisySeriesTrainer:
    """One round of one member: a release of its series, and training on all releases so far.

    Args:
        learner: The member's data, task and configuration.
        model: Trained from its present state.
        noise_multiplier: sigma of this round's release, in multiples of `bound`.
        bound: Sensitivity: the L2 norm of the largest change of the series by one privacy unit.
        directory: The folder of the sum of all releases.
        stream: The member's own randomness.
        accountant: Charged before the series are used.
    """

    def __init__(
        self,
        learner: LocalProblem,
        model: nn.Module,
        noise_multiplier: float,
        bound: float,
        directory: Path,
        *,
        stream: AesCtrRng,
        accountant: PrivacyAccountant,
    ) -> None:
        perturbation = learner.task.input_perturbation
        if perturbation is None:
            raise TypeError(f"{learner.task.name} releases no series")
        self.series = perturbation
        self.event = SampledGaussian(noise_multiplier, sampling_rate=1.0, steps=1)
        self._learner = learner
        self._model = model
        self._noise_multiplier = noise_multiplier
        self._bound = bound
        self._path = directory / SERIES
        self._noise = GridNoise(stream)
        self._seed = int(stream.words(1)[0]) & (2**63 - 1)  # of shuffling and dropout
        self._accountant = accountant

    def train_round(self) -> None:
        """Release the series, and train on the mean of all releases."""
        learner = self._learner
        # Before the charge, or each try on a disk without room for the sum would be charged. The
        # journal counts room for some models; series can be many times as long.
        cells = math.prod(self.series.series_shape(learner.data))
        try_room(self._path.with_name(_ROOM), 8 * cells + _HEADER)
        # Charge before use: a kill after this line can waste budget, and never overspend it.
        self._accountant.charge(self.event)
        total, variance, count = self._released_so_far()
        released, deviation = self._release()
        total = total + released
        variance, count = variance + deviation**2, count + 1
        state = {"total": total, "variance": np.array([variance]), "count": np.array([count])}
        write_tensors(
            self._path, {name: torch.from_numpy(part) for name, part in state.items()}, {}
        )
        # From here on only releases are used, and no raw series.
        rows = self.series.noised_units(
            learner.data, learner.facts, total / count, variance**0.5 / count
        )
        training, device = learner.config.training, torch.device("cpu")
        LocalTrainer(self._model, rows, learner.task.loss, training, device).train(self._seed)

    def close(self) -> None:
        """Do nothing: no layer was hooked."""

    def _release(self) -> tuple[Series, float]:
        """Return the series on a grid, noised, and the deviation of the noise."""
        series = self.series.bounded_series(self._learner.data)
        grid = Grid.of(self._bound, series.size, self._noise_multiplier)
        return self._noise.noised(series, self._bound, self._noise_multiplier), grid.deviation

    def _released_so_far(self) -> tuple[Series, float, int]:
        """Return the sum of the releases, the variance of its noise, and their number."""
        if not self._path.exists():
            return np.zeros(()), 0.0, 0
        tensors, _ = read_tensors(self._path)
        total, variance, count = (tensors[name].numpy() for name in ("total", "variance", "count"))
        return total, float(variance[0]), int(count[0])
