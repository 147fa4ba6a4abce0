"""How far forecasts of demand are off, and how far they would be off at best.

A case is one series at one step. Quantities are units sold, float64 [N], never negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from securefl.ml.metrics.sums import MetricSums, Ratio

Quantities = npt.NDArray[np.float64]

_SPREAD: Final = 9.0
"""Standard deviations of the Poisson law that the floor sums over; beyond lies < 1e-15 of it."""


def forecast_tally(forecast: Quantities, actual: Quantities) -> MetricSums:
    """Return all error metrics of one-step forecasts.

    `mape` is the mean of `|forecast - actual| / actual` over the cases with `actual > 0`: a case
    without demand has no percentage error and is left out; `zero_demand` is the share of such
    cases. They count in `wape` (`sum |error| / sum actual`), `mae` and `rmse`, which take every
    case. `mape_floor` and `wape_floor` are what `poisson_floor` says about the same cases.

    Args:
        forecast: Forecast quantities, float64 [N].
        actual: What was sold, float64 [N].

    Raises:
        ValueError: If the two differ in shape.
    """
    if forecast.shape != actual.shape:
        raise ValueError(f"{forecast.shape} forecasts for {actual.shape} cases")
    error = np.abs(forecast - actual)
    sold = actual > 0
    cases = float(actual.size)
    demand = float(actual.sum())
    relative, absolute = poisson_floor(actual)
    return MetricSums(
        {
            "mape": Ratio(float((error[sold] / actual[sold]).sum()), float(sold.sum())),
            "wape": Ratio(float(error.sum()), demand),
            "mae": Ratio(float(error.sum()), cases),
            "rmse": Ratio(float(np.square(error).sum()), cases, root=True),
            "mape_floor": Ratio(float(relative[sold].sum()), float(sold.sum())),
            "wape_floor": Ratio(float(absolute.sum()), demand),
            "zero_demand": Ratio(cases - float(sold.sum()), cases),
        }
    )


def below(level: float) -> str:
    """Return the metric that says which share of sales stayed at or below a level's quantile."""
    return f"below@{level:g}"


def quantile_tally(
    forecast: Quantities, actual: Quantities, scale: Quantities, levels: Sequence[float]
) -> MetricSums:
    """Return metrics of one-step quantile forecasts, those of the median among them.

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


def poisson_floor(mean: Quantities) -> tuple[Quantities, Quantities]:
    """Return least expected error of a forecaster that knows the mean of a Poisson demand exactly.

    The relative error is that of the best constant forecast, `min_f E[|f - Y| / Y | Y > 0]`: the
    minimiser is the median of Y weighted by 1/Y (Gneiting 2011, "Making and evaluating point
    forecasts", section 3.3). The absolute one is `min_f E|f - Y|`, reached at the median.

    Real demand varies more than a Poisson count (shoppers buy several units at once, and together),
    so that the floor lies below what any forecaster can reach. Evaluated at the demand that was
    observed, in the place of its unknown mean, it is right to first order.

    Args:
        mean: Mean demand, float64 [N], >= 0.

    Returns:
        Relative and absolute error, float64 [N] each; 0 where the mean is 0.
    """
    values, inverse = np.unique(mean, return_inverse=True)
    floors = np.array([_poisson_floor(float(value)) for value in values]).reshape(-1, 2)
    chosen = floors[inverse]
    return chosen[:, 0], chosen[:, 1]


@lru_cache(maxsize=1 << 14)  # demand is a count, and few counts are met again and again
def _poisson_floor(mean: float) -> tuple[float, float]:
    if mean <= 0:
        return 0.0, 0.0
    reach = _SPREAD * np.sqrt(mean) + _SPREAD
    counts = np.arange(max(0.0, np.floor(mean - reach)), np.ceil(mean + reach) + 1)
    mass = _poisson_mass(counts, mean)
    positive = counts > 0
    inverse = np.where(positive, mass, 0.0) / np.where(positive, counts, 1.0)
    relative = _least_deviation(counts, inverse) / float(mass[positive].sum())
    return relative, _least_deviation(counts, mass)


def _poisson_mass(counts: Quantities, mean: float) -> Quantities:
    """Return Poisson probabilities of consecutive counts, normalised over them."""
    steps = np.log(mean) - np.log(np.maximum(counts[1:], 1.0))
    logs = np.concatenate([[0.0], np.cumsum(steps)])
    weights = np.exp(logs - logs.max())
    mass: Quantities = weights / weights.sum()
    return mass


def _least_deviation(values: Quantities, weights: Quantities) -> float:
    """Return `min_f sum w |f - v|`, reached at the weighted median; `values` ascend."""
    cumulative = np.cumsum(weights)
    median = values[np.searchsorted(cumulative, cumulative[-1] / 2)]
    return float((weights * np.abs(values - median)).sum())
