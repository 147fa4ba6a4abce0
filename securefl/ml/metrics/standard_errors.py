"""Standard errors of metrics that are ratios of sums, by the jackknife over groups of cases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from securefl.ml.metrics.sums import MetricSums, total

GROUPS: Final = 10
"""Groups of cases; more would cost time, and fewer would leave the error itself uncertain."""


def standard_errors(groups: Sequence[MetricSums]) -> dict[str, float | None]:
    """Return the standard error of each metric over all groups; None where it is not known.

    The delete-a-group jackknife (Kott 2001): with the metric `m_g` of all cases but group g's,
    `se^2 = (G - 1) / G sum_g (m_g - mean)^2`. Groups are disjoint and independent of each other.
    """
    if len(groups) < 2:
        return {}
    left_out = [
        total([*groups[:place], *groups[place + 1 :]]).values() for place in range(len(groups))
    ]
    return {name: _error([values[name] for values in left_out]) for name in left_out[0]}


def _error(values: Sequence[float]) -> float | None:
    if not all(map(math.isfinite, values)):
        return None
    count, mean = len(values), math.fsum(values) / len(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return math.sqrt((count - 1) / count * squares)
