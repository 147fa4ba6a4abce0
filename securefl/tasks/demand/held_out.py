"""Forecasts of the test steps beside what was sold, to be drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from securefl.data.tables import RetailerTables
from securefl.tasks.common.held_out import HeldOutForecasts, SeriesPath
from securefl.tasks.demand.series import Floats, Known
from securefl.tasks.demand.windows import ahead

if TYPE_CHECKING:
    from securefl.tasks.demand.serving import ServedForecaster


def held_out_forecasts(served: ServedForecaster, tables: RetailerTables) -> HeldOutForecasts | None:
    """Return each test step as it is forecast from the steps before it; None without a series."""
    if not len(served.series):
        return None
    known, task = served.known(tables, None), served.task
    steps = served.facts.steps
    first = int(np.searchsorted(known.steps, steps[len(steps) - task.split.test_steps]))
    last = min(first + task.split.test_steps, len(known.steps))
    paths = np.stack([served.drawn(known.until(step)) for step in range(first, last)], axis=-1)
    sold = ahead(known.sold.by_key(served.facts.words), task.horizon)[served.series, :last]
    return HeldOutForecasts(
        tuple(
            _path(served, known, (sold[row], paths[:, row]), row)
            for row in np.argsort(-sold.sum(axis=1), kind="stable").tolist()
        ),
        task.cadence.name,
        served.band,
        task.horizon,
    )


def _path(
    served: ServedForecaster, known: Known, figures: tuple[Floats, Floats], row: int
) -> SeriesPath:
    sold, drawn = figures
    name = served.facts.words.keys[served.series[row]]
    return SeriesPath(name, known.steps[: len(sold)], sold, *drawn)
