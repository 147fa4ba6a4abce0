"""From noised integers to an answer: post-processing, which uses no data and costs no budget.

Ranges are 95 % intervals of the noise alone, without the bias of bounding each customer. Counts
may be negative here; only printed ones are cut at zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.optimize import isotonic_regression

from securefl.errors import ConfigError
from securefl.federation.analytics.columns import Catalogue, DoubleVector, IntVector
from securefl.federation.analytics.contributions import step
from securefl.federation.analytics.queries import Query

_TWO_SIDED = 1.959964
"""The 97.5 % quantile of the standard normal distribution, for 95 % intervals."""


@dataclass(frozen=True)
class Row:
    """One line of an answer.

    Attributes:
        name: A quantile, a bin, a name of the column, or the statistic itself.
        value: The estimate: a share of the records for a histogram, customers for a list.
        low: Lower end of its interval.
        high: Upper end of its interval.
    """

    name: str
    value: float
    low: float
    high: float


def rows_of(
    query: Query,
    catalogue: Catalogue,
    total: IntVector,
    deviation: float,
    *,
    at: Sequence[float] = (0.5,),
    length: int = 100,
) -> tuple[Row, ...]:
    """Return the answer in a sum.

    Args:
        query: The query.
        catalogue: The agreed catalogue.
        total: The sum, int64 [d].
        deviation: Standard deviation of the noise in each coordinate, in integer units.
        at: The quantiles' levels, each in (0, 1).
        length: Number of names in a list of the top.

    Raises:
        ConfigError: If a quantile is not between 0 and 1.
    """
    if query.kind == "sum":
        unit = step(query)
        return (_around("sum", float(total[0]) * unit, deviation * unit),)
    if query.kind == "mean":
        return (_mean(query, total, deviation),)
    if query.kind == "quantiles":
        return tuple(_quantile(query, total, deviation, level) for level in at)
    names = bin_names(query) if query.bins else catalogue.names(query.column)
    if query.kind == "top":
        first = np.argsort(-total, kind="stable")[:length]
        return tuple(_around(names[one], float(total[one]), deviation) for one in first)
    return _shares(names, total, deviation)


def bin_names(query: Query) -> tuple[str, ...]:
    """Return the names of a histogram's bins; the outer ones include all values beyond them."""
    edges = _edges(query)
    return tuple(f"{low:g} to {high:g}" for low, high in pairwise(edges))


def _edges(query: Query) -> DoubleVector:
    assert query.bins is not None
    return np.linspace(*query.range, query.bins + 1)


def _around(name: str, value: float, deviation: float) -> Row:
    return Row(name, value, value - _TWO_SIDED * deviation, value + _TWO_SIDED * deviation)


def _mean(query: Query, total: IntVector, deviation: float) -> Row:
    """Return the ratio of two noised sums; its deviation by the delta method, cut to the range."""
    low, high = query.range
    middle, half = (low + high) / 2, (high - low) / 2
    above, count = float(total[0]), float(total[1])
    if count <= _TWO_SIDED * deviation:
        return Row("mean", middle, low, high)  # the count is within its noise
    ratio = min(1.0, max(-1.0, above / count))
    spread = half * deviation / count * math.sqrt(1 + ratio**2)
    found = _around("mean", middle + half * ratio, spread)
    return Row("mean", found.value, max(low, found.low), min(high, found.high))


def _shares(names: Sequence[str], total: IntVector, deviation: float) -> tuple[Row, ...]:
    whole = max(float(total.sum()), 1.0)
    shares = total / whole
    spreads = [_share_deviation(share, 1, len(total)) * deviation / whole for share in shares]
    return tuple(
        _around(name, float(share), spread)
        for name, share, spread in zip(names, shares, spreads, strict=True)
    )


def _share_deviation(share: float, bins: float, of: int) -> float:
    """Return a share's standard deviation, in deviations of one bin over the number of records.

    To first order (delta method), a share F of noised counts errs by (1 - F) for noise in its own
    bins and by F for noise in the others, over their sum.
    """
    return math.sqrt(bins * (1 - share) ** 2 + (of - bins) * share**2)


def _quantile(query: Query, total: IntVector, deviation: float, level: float) -> Row:
    """Return where the cumulated histogram, made monotone (Ayer et al. 1955), reaches a level.

    Raises:
        ConfigError: If the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ConfigError(f"a quantile is between 0 and 1, and {level:g} is not")
    edges = _edges(query)
    cumulated = np.cumsum(total, dtype=np.float64)
    whole = max(float(cumulated[-1]), 1.0)
    shares = np.clip(isotonic_regression(cumulated).x / whole, 0.0, 1.0)
    shares = np.concatenate([[0.0], shares])
    bins = len(total)
    before = float(np.interp(level, shares, np.arange(bins + 1)))
    noise = _share_deviation(level, before, bins) * deviation / whole
    value, low, high = np.interp(
        [level, level - _TWO_SIDED * noise, level + _TWO_SIDED * noise], shares, edges
    )
    return Row(f"{level:g}", float(value), float(low), float(high))
