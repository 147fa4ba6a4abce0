"""Models of the demand task and their training targets.

Both take the same three tensors: `inputs` float32 [B, F], `series` int64 [B] (index of the series'
key in the agreed vocabulary) and `level` float32 [B], log(1 + recent mean demand).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from securefl.tasks.demand.settings import NetworkSettings, TutorialForecasterSettings


class Forecaster(nn.Module):
    """Corrects the recent mean: log demand = level + linear(inputs) + network(inputs, embedding).

    Before training it forecasts the recent mean, and everything it learns is relative to the size
    of the series: retailers of different size share how demand moves, not how large it is. The
    embedding distinguishes the agreed categories (or products).

    Args:
        settings: Sizes.
        inputs: Number of features F.
        series: Size of the vocabulary, unknown included.
    """

    keyed: ClassVar[tuple[str, ...]] = ("embedding.weight",)
    """Parameters with a row for each key of the vocabulary."""

    def __init__(self, settings: NetworkSettings, inputs: int, series: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(series, settings.dim)
        self.hidden = nn.Sequential(
            *_hidden_layers(inputs + settings.dim, settings.hidden, settings.layers),
            nn.Dropout(settings.dropout),
        )
        self.head = nn.Linear(settings.hidden, 1)
        self.direct = nn.Linear(inputs, 1)
        nn.init.normal_(self.embedding.weight, std=0.1)
        for layer in (self.head, self.direct):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, inputs: Tensor, series: Tensor, level: Tensor) -> Tensor:
        """Forecast log(1 + demand), float32 [B]."""
        hidden = self.hidden(torch.cat([inputs, self.embedding(series)], dim=1))
        change: Tensor = self.head(hidden) + self.direct(inputs)
        return level + change.squeeze(1)


class TutorialForecaster(nn.Module):
    """The tutorial's network: ReLU layers with dropout after each, and a ReLU on the output.

    Its inputs do not distinguish products, so that it learns an average over them.

    Args:
        settings: Sizes.
        inputs: Number of features F; 7 in the tutorial.
    """

    keyed: ClassVar[tuple[str, ...]] = ()
    """See `Forecaster`."""

    def __init__(self, settings: TutorialForecasterSettings, inputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for layer in _hidden_layers(inputs, settings.hidden, settings.layers):
            layers.append(layer)
            if isinstance(layer, nn.ReLU):
                layers.append(nn.Dropout(settings.dropout))
        self.net = nn.Sequential(*layers, nn.Linear(settings.hidden, 1), nn.ReLU())

    def forward(self, inputs: Tensor, series: Tensor, level: Tensor) -> Tensor:
        """Forecast demand in units, float32 [B]; neither series nor level are used."""
        demand: Tensor = self.net(inputs)
        return demand.squeeze(1)


def _hidden_layers(inputs: int, hidden: int, layers: int) -> list[nn.Module]:
    widths = [inputs, *[hidden] * layers]
    return [module for a, b in pairwise(widths) for module in (nn.Linear(a, b), nn.ReLU())]


class Target(Protocol):
    """Training target: the scale of a model's output, and its loss."""

    def loss(self, output: Tensor, demand: Tensor) -> Tensor:
        """Return the loss of each example, float32 [B], for demand in units."""

    def quantity(self, output: Tensor) -> Tensor:
        """Return the output as demand in units, float32 [B], >= 0."""


@dataclass(frozen=True)
class LogTarget:
    """Output is log(1 + demand); Huber loss, so that errors count in percent and outliers little.

    Attributes:
        delta: Error in log units beyond which the loss is linear (Huber 1964).
    """

    delta: float

    def loss(self, output: Tensor, demand: Tensor) -> Tensor:
        """Return the Huber loss over `delta`, roughly the absolute error in log units."""
        return functional.huber_loss(
            output, torch.log1p(demand), reduction="none", delta=self.delta
        ).div(self.delta)

    def quantity(self, output: Tensor) -> Tensor:
        """Return exp(output) - 1, clipped at 0."""
        return torch.expm1(output).clamp_min(0.0)


class RawTarget:
    """Output is demand in units, squared error, as in the tutorial."""

    def loss(self, output: Tensor, demand: Tensor) -> Tensor:
        """Return the squared error in units."""
        return (output - demand).square()

    def quantity(self, output: Tensor) -> Tensor:
        """Return the output itself."""
        return output
