"""Quantile forecasts of demand at agreed probabilities.

The quantiles of a series cannot cross: the model forecasts the median, and each further quantile is
a positive gap above or below its neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from scipy.special import ndtri
from torch import Tensor, nn

from securefl.tasks.demand.forecaster import Forecaster
from securefl.tasks.demand.settings import MEDIAN, QuantileForecasterSettings

_START_SPREAD = 0.15
"""Standard deviation of log demand in an untrained model."""


class QuantileForecaster(nn.Module):
    """A `Forecaster` of the median, with gaps to the other quantiles.

    Gaps are those of a normal distribution times a positive factor, whose logarithm is linear in
    the inputs plus a bias for each key of the catalogue. So weight decay pulls towards the normal
    distribution, and not towards wide gaps.

    Args:
        settings: Sizes and the Q levels.
        inputs: Number of features F.
        series: Size of the vocabulary, unknown included.
    """

    keyed: ClassVar[tuple[str, ...]] = ("median.embedding.weight", "width.weight")
    """See `Forecaster`."""

    def __init__(self, settings: QuantileForecasterSettings, inputs: int, series: int) -> None:
        super().__init__()
        self.median = Forecaster(settings, inputs, series)
        self.below = settings.levels.index(MEDIAN)
        self.gaps = nn.Linear(inputs, len(settings.levels) - 1)
        self.width = nn.Embedding(series, 1)
        for parameter in (self.gaps.weight, self.gaps.bias, self.width.weight):
            nn.init.zeros_(parameter)
        scores = torch.tensor(ndtri(settings.levels), dtype=torch.float32)
        self.normal: Tensor
        self.register_buffer("normal", scores.diff() * _START_SPREAD, persistent=False)

    def forward(self, inputs: Tensor, series: Tensor, level: Tensor) -> Tensor:
        """Return quantiles of log(1 + demand), ascending, float32 [B, Q]."""
        median = self.median(inputs, series, level).unsqueeze(1)
        gaps = self.normal * (self.gaps(inputs) + self.width(series)).exp()
        down = gaps[:, : self.below].flip(1).cumsum(1).flip(1)
        up = gaps[:, self.below :].cumsum(1)
        return torch.cat([median - down, median, median + up], dim=1)


@dataclass(frozen=True)
class QuantileTarget:
    """Output is quantiles of log(1 + demand).

    Quantiles are equivariant under increasing functions, so that those of the logarithm give those
    of the demand.

    Attributes:
        levels: The Q probabilities, ascending.
    """

    levels: tuple[float, ...]

    def loss(self, output: Tensor, demand: Tensor) -> Tensor:
        """Return the pinball loss in log units, mean over the levels, float32 [B]."""
        levels = output.new_tensor(self.levels)
        return pinball(output, torch.log1p(demand).unsqueeze(1), levels).mean(dim=1)

    def quantity(self, output: Tensor) -> Tensor:
        """Return exp(output) - 1, clipped at 0, float32 [B, Q]."""
        return torch.expm1(output).clamp_min(0.0)


def pinball(quantile: Tensor, value: Tensor, levels: Tensor) -> Tensor:
    """Return the pinball loss (Koenker and Bassett 1978), [N, Q].

    Args:
        quantile: Forecasts, [N, Q].
        value: Observed values, [N, 1].
        levels: Probabilities, [Q].
    """
    miss = value - quantile
    return torch.maximum(levels * miss, (levels - 1) * miss)
