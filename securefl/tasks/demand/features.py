"""Forecaster inputs, computed before a step begins.

Inputs of step t use demand before t, the calendar and the planned promotions alone. Ratios are
logarithms relative to the level of the series, so that a retailer's size never enters; the level
itself is added back to the model's output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from securefl.tasks.demand.promotions import COMPARED
from securefl.tasks.demand.series import Cadence, Days, Floats

Float32s = npt.NDArray[np.float32]

RATIO_LIMIT: Final = 2.0
"""Clip of log ratios: beyond a factor of 7 a series has begun, ended or run out of stock."""

HARMONICS: Final = (1, 2)
"""Harmonics per month that encode the position in the month."""

FIRST_DAYS: Final = 7
"""Days of a month that count as its beginning, when salaries and benefits have been paid."""

TUTORIAL_INPUTS: Final = 7


@dataclass(frozen=True)
class Features:
    """Inputs of S series at T steps.

    Attributes:
        inputs: Float32 [S, T, F].
        level: log(1 + mean demand of the recent windows), float32 [S, T].
        baseline: Moving averages in units, one per window of the cadence, float32 [R, S, T].
    """

    inputs: Float32s
    level: Float32s
    baseline: Float32s


def feature_count(cadence: Cadence) -> int:
    """Return the number F of inputs that `features` computes."""
    own = len(cadence.lags) + len(cadence.windows) + 3
    season = cadence.season if cadence.season > 1 else 0
    return own + len(COMPARED) + 1 + 2 * len(HARMONICS) + season


def features(
    demand: Floats, total: Floats, uplift: Floats, steps: Days, cadence: Cadence
) -> Features:
    """Compute the inputs of all series and steps; those of the warm-up are not meaningful.

    Args:
        demand: Units by series and step, float64 [S, T].
        total: Units of the whole retailer by step, float64 [T].
        uplift: `planned_uplift` of the series, float64 [S, T, len(COMPARED)].
        steps: First days of the steps, datetime64[D] [T].
        cadence: Lags and windows; its `warmup` first steps have too little history.
    """
    level = np.log1p(np.mean([moving_average(demand, w) for w in cadence.level], axis=0))
    past = [lagged(demand, k) for k in cadence.lags]
    past += [moving_average(demand, w) for w in (*cadence.windows, len(steps))]
    ratios = [np.log1p(units) - level for units in past]
    known = [ratios, [_traffic(total, cadence, len(demand))], [1.0 / np.sqrt(np.expm1(level) + 1)]]
    columns = [*[np.clip(c, -RATIO_LIMIT, RATIO_LIMIT) for group in known for c in group]]
    columns += list(np.moveaxis(np.clip(uplift, -RATIO_LIMIT, RATIO_LIMIT), 2, 0))
    columns += [np.broadcast_to(c, demand.shape) for c in calendar(steps, cadence)]
    baseline = [moving_average(demand, w) for w in cadence.baseline]
    return Features(
        inputs=np.stack(columns, axis=2).astype(np.float32),
        level=level.astype(np.float32),
        baseline=np.stack(baseline).astype(np.float32),
    )


def lagged(demand: Floats, back: int) -> Floats:
    """Return demand `back` steps before, 0 where there was none; float64 [S, T]."""
    result = np.zeros_like(demand)
    result[:, back:] = demand[:, :-back]
    return result


def moving_average(demand: Floats, window: int) -> Floats:
    """Return mean demand of the `window` steps before each, of fewer at the start; [S, T]."""
    sums = np.concatenate([np.zeros((len(demand), 1)), np.cumsum(demand, axis=1)], axis=1)
    end = np.arange(demand.shape[1])
    start = np.maximum(end - window, 0)
    result: Floats = (sums[:, end] - sums[:, start]) / np.maximum(end - start, 1)
    return result


def _traffic(total: Floats, cadence: Cadence, series: int) -> Floats:
    """Return the log ratio of the retailer's last step to its recent mean, float64 [S, T]."""
    one = total[None, :]
    ratio = np.log1p(lagged(one, 1)) - np.log1p(moving_average(one, cadence.windows[0]))
    return np.repeat(ratio, series, axis=0)


def calendar(steps: Days, cadence: Cadence) -> list[Floats]:
    """Return calendar inputs, known in advance for every step, float64 [T] each.

    The share of the step's days at the beginning of a month, the position of its middle in the
    month as harmonics, and, where steps have a season, the step's place in it.
    """
    offsets = np.arange(cadence.days).astype("timedelta64[D]")
    days = steps[:, None] + offsets
    columns = [(_day_of_month(days) < FIRST_DAYS).mean(axis=1)]
    middle = days[:, cadence.days // 2]
    position = 2 * np.pi * _day_of_month(middle) / _days_in_month(middle)
    for harmonic in HARMONICS:
        columns += [np.sin(harmonic * position), np.cos(harmonic * position)]
    if cadence.season > 1:
        phase = np.arange(len(steps)) % cadence.season
        columns += [(phase == value).astype(np.float64) for value in range(cadence.season)]
    return columns


def _day_of_month(days: Days) -> Floats:
    """Return days since the first of the month; same shape as `days`."""
    first = days.astype("datetime64[M]").astype("datetime64[D]")
    number: Floats = (days - first).astype(np.float64)
    return number


def _days_in_month(days: Days) -> Floats:
    month = days.astype("datetime64[M]")
    length = (month + 1).astype("datetime64[D]") - month.astype("datetime64[D]")
    number: Floats = length.astype(np.float64)
    return number


def tutorial_inputs(steps: int, retailer: int, cadence: Cadence) -> Float32s:
    """Return the tutorial's features, float32 [T, 7]: weekday, day, harmonics, retailer.

    Args:
        steps: Number of steps T.
        retailer: Number of the member in the consortium.
        cadence: Step length; days are counted from the first step on.
    """
    day = np.arange(steps) * float(cadence.days)
    week, year = 2 * np.pi * day / 7, 2 * np.pi * day / 365
    columns = [day % 7 / 7, day / 365, np.sin(week), np.cos(week), np.sin(year), np.cos(year)]
    columns.append(np.full(steps, retailer / 10))
    return np.stack(columns, axis=1).astype(np.float32)
