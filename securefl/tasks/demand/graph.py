"""What is forecast as a function of tensors, for other programs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from securefl.tasks.common.serving import Graph
from securefl.tasks.demand.features import TUTORIAL_INPUTS, feature_count
from securefl.tasks.demand.forecaster import TutorialForecaster
from securefl.tasks.demand.task import DemandFacts, DemandTask
from securefl.tasks.demand.windows import ForecastExamples

Forecast = Callable[[tuple[ForecastExamples, ForecastExamples]], Tensor]
"""From the cases of the shared and of the local forecaster to forecasts in units."""


class ForecastNetwork(nn.Module):
    """Forecasts in units, as a function of tensors.

    Args:
        models: The shared forecaster, and the local one if there is one.
        forecast: Computes forecasts with them.
    """

    def __init__(self, models: tuple[nn.Module, nn.Module | None], forecast: Forecast) -> None:
        super().__init__()
        self.shared, self.local = models
        self._forecast = forecast

    def forward(
        self, inputs: Tensor, series: Tensor, level: Tensor, own_inputs: Tensor, own_level: Tensor
    ) -> Tensor:
        """Return float32 [N] or quantiles [N, Q]; see `Graph.inputs` for the arguments."""
        nothing = level.new_zeros(0)
        cases = ForecastExamples((inputs, series, level, nothing), nothing)
        own = ForecastExamples((own_inputs, series, own_level, nothing), nothing)
        return self._forecast((cases, own))


def forecast_graph(
    task: DemandTask,
    facts: DemandFacts,
    models: tuple[nn.Module, nn.Module | None],
    forecast: Forecast,
) -> Graph:
    """Return the graph of a member's forecasts; the arguments are those of `ForecastNetwork`."""
    keys, inputs = len(facts.words.keys), feature_count(task.cadence)
    if isinstance(models[0], TutorialForecaster):
        inputs = TUTORIAL_INPUTS

    def example(seed: int) -> tuple[Tensor, ...]:
        random = torch.Generator().manual_seed(seed)
        rows = int(torch.randint(1, 30, (), generator=random))
        features = torch.randn(2, rows, inputs, generator=random)
        series = torch.randint(0, keys, (rows,), generator=random)
        level = 5 * torch.rand(2, rows, generator=random)
        return features[0], series, level[0], features[1], level[1]

    names = {
        "inputs": "features of the shared forecaster, float32 [N, F]",
        "series": "rows of the series' keys, int64 [N]",
        "level": "log(1 + recent mean demand), float32 [N]",
        "own_inputs": "features of the local forecaster, float32 [N, F]; the same without",
        "own_level": "level of the local forecaster, float32 [N]",
    }
    return Graph(
        network=ForecastNetwork(models, forecast),
        inputs=names,
        output="forecast",
        free={name: {0: "rows"} for name in names},
        example=example,
    )
