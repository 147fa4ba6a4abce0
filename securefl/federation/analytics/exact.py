"""The exact, non-private answers, for a simulation that measures the error of the private ones.

No consortium has these: they read all members' tables and add no noise. No member uses this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from securefl.data.tables import RetailData
from securefl.federation.analytics.answers import Row, bin_names, rows_of
from securefl.federation.analytics.columns import Catalogue, DoubleVector, IntVector, number_records
from securefl.federation.analytics.contributions import bin_of, contribution
from securefl.federation.analytics.queries import Query
from securefl.privacy.noise.csprng import AesCtrRng


@dataclass(frozen=True)
class ExactAnswer:
    """The answer without privacy protection.

    Attributes:
        exact: By name of the answer's rows, over all records of all known customers.
        bounded: The same over the records that count, without noise.
        overlap: Number of listed names that are in the exact list of the same length; None for
            other queries.
    """

    exact: dict[str, float]
    bounded: dict[str, float]
    overlap: int | None


def truth_of(
    query: Query,
    data: RetailData,
    catalogue: Catalogue,
    answer: Sequence[Row],
    at: Sequence[float],
) -> ExactAnswer:
    """Return the exact answer that a private one is compared with.

    Args:
        query: The query.
        data: All members' tables.
        catalogue: The agreed catalogue.
        answer: The private answer.
        at: The quantiles' levels.
    """
    parts = [contribution(one, catalogue, query, AesCtrRng()) for one in data.members]
    total = np.sum(parts, axis=0)
    bounded = {
        row.name: row.value
        for row in rows_of(query, catalogue, total, 0.0, at=at, length=total.size)
    }
    exact = _exact(query, data, catalogue, at)
    overlap = None
    if query.kind == "top":
        best = sorted(exact, key=lambda name: -exact[name])[: len(answer)]
        overlap = len({row.name for row in answer} & set(best))
    names = [row.name for row in answer]
    return ExactAnswer(
        {name: exact[name] for name in names}, {name: bounded[name] for name in names}, overlap
    )


def _exact(
    query: Query, data: RetailData, catalogue: Catalogue, at: Sequence[float]
) -> dict[str, float]:
    if query.low is None:
        counts = _name_counts(query, data, catalogue)
        whole = counts.sum() if query.kind == "histogram" else 1
        return dict(zip(catalogue.names(query.column), (counts / whole).tolist(), strict=True))
    values = np.concatenate(
        [number_records(one.transactions, query.column).value for one in data.members]
    )
    if query.kind == "histogram":
        counts = np.bincount(bin_of(values, query), minlength=query.bins or 1)
        return dict(zip(bin_names(query), (counts / counts.sum()).tolist(), strict=True))
    return _statistics(query, values, at)


def _statistics(query: Query, values: DoubleVector, at: Sequence[float]) -> dict[str, float]:
    if query.kind == "quantiles":
        return {f"{level:g}": float(np.quantile(values, level)) for level in at}
    return {query.kind: float(values.sum() if query.kind == "sum" else values.mean())}


def _name_counts(query: Query, data: RetailData, catalogue: Catalogue) -> IntVector:
    """Return the count of customers (top) or records (histogram) by name, int64 [d]."""
    counts = np.zeros(catalogue.count(query.column), dtype=np.int64)
    for one in data.members:
        records = catalogue.records(one.transactions, query.column)
        position = records.position
        if query.kind == "top":
            pairs = np.unique(np.stack([records.customer, position]), axis=1)
            position = pairs[1]
        counts += np.bincount(position, minlength=counts.size)
    return counts
