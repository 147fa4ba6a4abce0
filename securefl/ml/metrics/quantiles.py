"""How good forecast quantiles of demand are: their loss, and how often demand stays below them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from securefl.ml.metrics.forecasting import Quantities, forecast_tally
from securefl.ml.metrics.sums import MetricSums, Ratio


def below(level: float) -> str:
    """The metric that says which share of sales stayed at or below a level's quantile."""
    return f"below@{level:g}"


def quantile_tally(
    forecast: Quantities, actual: Quantities, scale: Quantities, levels: Sequence[float]
) -> MetricSums:
    """Metrics of one-step quantile forecasts, those of the median among them.

    `pinball` is the loss of Koenker and Bassett (1978), mean over levels and cases, each case over
    its scale so that small series count as much as large ones. The scale has to be known before the
    step: a loss over what was sold would not be least at the quantile. `quantile_loss` is the sum
    of the losses over all units sold, in which large series count more.

    Args:
        forecast: Quantiles in units, float64 [N, Q], ascending.
        actual: What was sold, float64 [N].
        scale: Size of each series before the step, float64 [N], above 0.
        levels: Probabilities, with 0.5 among them.

    Raises:
        ValueError: If there is not one quantile a case and level.
    """
    if forecast.shape != (actual.size, len(levels)):
        raise ValueError(f"{forecast.shape} quantiles for {actual.size} cases")
    probabilities = np.asarray(levels)
    miss = actual[:, None] - forecast
    loss = np.maximum(probabilities * miss, (probabilities - 1) * miss).mean(axis=1)
    cases = float(actual.size)
    shares = {
        below(level): Ratio(float((miss[:, column] <= 0).sum()), cases)
        for column, level in enumerate(levels)
    }
    own = {
        "pinball": Ratio(float((loss / scale).sum()), cases),
        "quantile_loss": Ratio(float(loss.sum()), float(actual.sum())),
    }
    median = forecast_tally(forecast[:, list(levels).index(0.5)], actual)
    return MetricSums(own | dict(median.ratios) | shares)
