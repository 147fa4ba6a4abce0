"""A member's part of an answer: integers [d] with a bounded contribution of each customer.

The records of a customer that count are sampled from that customer's records alone, so that adding
or removing another customer does not change the sample. Each record adds bounded integers; the
bounds add up to `sensitivity`. docs/howto/analytics.md has the proof.
"""

from __future__ import annotations

import math

import numpy as np

from securefl.data.tables import RetailerTables
from securefl.federation.analytics.columns import (
    Catalogue,
    DoubleVector,
    IntVector,
    Numbers,
    number_records,
)
from securefl.federation.analytics.queries import Query
from securefl.privacy.accounting.sensitivity import Sensitivity
from securefl_protocols.noise.words import UniformWordSource

_FINEST = 1 << 16
_COARSEST = 16


def steps(query: Query) -> int:
    """Return the number of integer steps of the largest number of a sum; fewer for more records."""
    return max(_COARSEST, _FINEST // query.records)


def step(query: Query) -> float:
    """Return the size of one integer step of a sum or mean, in the column's own unit."""
    low, high = query.range
    largest = (high - low) / 2 if query.kind == "mean" else max(abs(low), abs(high))
    return largest / steps(query)


def dimension(query: Query, catalogue: Catalogue) -> int:
    """Return d, the number of integers of the answer, from public information alone."""
    if query.kind in ("sum", "mean"):
        return 1 if query.kind == "sum" else 2
    return query.bins or catalogue.count(query.column)


def sensitivity(query: Query, catalogue: Catalogue) -> Sensitivity:
    """Return the sensitivity of all members' sum to a customer of `query.retailers` retailers."""
    return Sensitivity(query.retailers * _one_retailer(query), dimension(query, catalogue))


def _one_retailer(query: Query) -> float:
    """Return the largest L2 norm of a customer's contribution at one retailer."""
    if query.kind == "sum":
        return float(query.records * steps(query))
    if query.kind == "mean":
        return math.sqrt(2) * query.records * steps(query)
    # The norm is convex, so it is largest where as few bins as possible are full.
    full, rest = divmod(query.records, query.repeats)
    return math.sqrt(full * query.repeats**2 + rest**2)


def contribution(
    tables: RetailerTables, catalogue: Catalogue, query: Query, source: UniformWordSource
) -> IntVector:
    """Return the member's integers, int64 [d], without noise.

    Args:
        tables: The retailer's tables.
        catalogue: The agreed catalogue.
        query: The query.
        source: The random words that select which records of a customer count.
    """
    if query.low is None:
        names = catalogue.records(tables.transactions, query.column)
        return _counted(names.customer, names.position, dimension(query, catalogue), query, source)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # amounts are any numbers
        return _of_numbers(tables, query, source)


def _of_numbers(tables: RetailerTables, query: Query, source: UniformWordSource) -> IntVector:
    """Return the integers of a column of numbers."""
    numbers = number_records(tables.transactions, query.column)
    if query.bins is not None:
        cells = bin_of(numbers.value, query)
        return _counted(numbers.customer, cells, query.bins, query, source)
    if query.kind == "sum":
        return _summed(numbers, query)
    return _averaged(numbers, query, source)


def bin_of(value: DoubleVector, query: Query) -> IntVector:
    """Return the bin of each number, int64 [n]; outside the range, the first or the last one."""
    assert query.bins is not None
    low, high = query.range
    place = np.floor((value - low) * (query.bins / (high - low)))
    return np.clip(place, 0, query.bins - 1).astype(np.int64)


def _summed(numbers: Numbers, query: Query) -> IntVector:
    """Return the sum of customers' totals, each clipped to `query.records` times the range."""
    _, customer = np.unique(numbers.customer, return_inverse=True)
    totals = np.bincount(customer, weights=numbers.value)
    low, high = query.range
    least, most = query.records * min(low, 0.0), query.records * max(high, 0.0)
    cut: DoubleVector = np.clip(totals, least, most).astype(np.float64)
    return np.array([_in_steps(cut, query, query.records).sum()], dtype=np.int64)


def _averaged(numbers: Numbers, query: Query, source: UniformWordSource) -> IntVector:
    """Return sum and number of the records that count, both in steps.

    Numbers are centred at the middle of the range, which halves their bound and so the noise.
    """
    chosen = _at_most(query.records, numbers.customer, _tickets(numbers.customer.size, source))
    low, high = query.range
    centred = np.clip(numbers.value[chosen], low, high) - (low + high) / 2
    counted = chosen.size * steps(query)
    return np.array([_in_steps(centred, query, 1).sum(), counted], dtype=np.int64)


def _in_steps(value: DoubleVector, query: Query, records: int) -> IntVector:
    """Return sums of at most so many records, in steps, rounded to the nearest; NaN counts 0."""
    # Clipped after rounding, so that the bound holds for the integers and not only before it. What
    # is no number (a total of infinities of both signs) would be the smallest integer of all.
    limit = records * steps(query)
    whole: DoubleVector = np.nan_to_num(np.rint(value / step(query)), nan=0.0)
    return np.clip(whole, -limit, limit).astype(np.int64)


def _counted(
    customer: IntVector, cell: IntVector, cells: int, query: Query, source: UniformWordSource
) -> IntVector:
    tickets = _tickets(customer.size, source)
    # Dense numbers: of ids up to 2^63, products would wrap round, and two customers be one group.
    _, row = np.unique(customer, return_inverse=True)
    few = _at_most(query.repeats, row.astype(np.int64) * cells + cell, tickets)
    chosen = few[_at_most(query.records, customer[few], tickets[few])]
    return np.bincount(cell[chosen], minlength=cells).astype(np.int64)


def _tickets(size: int, source: UniformWordSource) -> IntVector:
    """Return a random number for each record, int64 [n]."""
    tickets = np.empty(size, dtype=np.int64)
    source.fill(tickets)
    return tickets


def _at_most(most: int, group: IntVector, tickets: IntVector) -> IntVector:
    """Return the indices of the `most` records a group with the smallest tickets, int64 [m]."""
    # Tickets are compared within a group alone: another customer's records change nothing here.
    order = np.lexsort((tickets, group))
    ordered = group[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: ordered.size])
    lengths = np.diff(np.append(first, ordered.size))
    rank = np.arange(ordered.size) - np.repeat(first, lengths)
    chosen: IntVector = order[rank < most]
    return chosen
