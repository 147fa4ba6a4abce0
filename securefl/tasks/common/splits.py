"""Leave-last-basket-out split of purchases into training, validation and test.

docs/recommendation.md has the rule, on which every score depends. It looks at one customer at a
time and samples by a hash of customer and product, so that a customer's held-out products depend
neither on the run's seed, nor on the row order, nor on other customers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_SPLIT = 174
"""Seed of every sample of the rule; a constant, so that all runs have the same split."""


@dataclass(frozen=True)
class Purchases:
    """Purchase lines as parallel int64 arrays, in any order.

    Attributes:
        customer: Customer ids.
        item: Rows of the agreed assortment.
        basket: Basket ids, unique for a customer.
        time: Time of the purchase, in any unit that orders.
    """

    customer: Ints
    item: Ints
    basket: Ints
    time: Ints

    def at(self, selector: NDArray[np.int64] | NDArray[np.bool_]) -> Purchases:
        """Return the selected lines, in the order of `selector`."""
        return Purchases(
            self.customer[selector], self.item[selector], self.basket[selector], self.time[selector]
        )


@dataclass(frozen=True)
class Pairs:
    """Distinct pairs of customer row and product, ascending by both.

    Attributes:
        row: Customer rows, int64 [P].
        item: Products, int64 [P].
        time: Last purchase of the pair, int64 [P], in the unit of the purchases.
        basket: Discovery basket of the customer in which the pair was bought first, int64 [P],
            counted from 0.
    """

    row: Ints
    item: Ints
    time: Ints
    basket: Ints

    def latest(self, customers: int) -> Ints:
        """Return each customer's last purchase time, int64 [n]; the smallest int64 without any."""
        latest = np.full(customers, np.iinfo(np.int64).min)
        np.maximum.at(latest, self.row, self.time)
        return latest


@dataclass(frozen=True)
class HeldOut:
    """One retailer's purchases, split; customers are rows 0..n-1 in ascending order of their id.

    Attributes:
        customers: Customer id of each row, int64 [n].
        training: Purchases before each customer's validation basket.
        known: Purchases before each customer's test basket.
        bought: Purchases in the whole period.
        validation: Held-out product of each row, int64 [n].
        test: Held-out product of each row, int64 [n].
    """

    customers: Ints
    training: Pairs
    known: Pairs
    bought: Pairs
    validation: Ints
    test: Ints


def hold_out(purchases: Purchases, min_products: int) -> HeldOut:
    """Split one retailer's purchases; leave out customers with fewer than `min_products`.

    A discovery basket of a customer contains a product that they never bought before. A new product
    sampled from the last one is the test case, one from the last but one the validation case, and
    training ends before the latter. Customers without a training purchase are left out.
    """
    lines = _in_order(_active(purchases, min_products))
    row = np.unique(lines.customer, return_inverse=True)[1]
    ordinal = _basket_ordinal(lines)
    first = _first_lines(row, lines.item)
    last, previous = _discovery_baskets(row[first], ordinal[first])
    kept = np.unique(row[ordinal < previous[row]])
    discoveries = _Discoveries(lines.at(first), row[first], ordinal[first])
    return HeldOut(
        customers=np.unique(lines.customer)[kept],
        training=_pairs_of(lines, row, ordinal, kept, ordinal < previous[row]),
        known=_pairs_of(lines, row, ordinal, kept, ordinal < last[row]),
        bought=_pairs_of(lines, row, ordinal, kept, np.isin(row, kept)),
        validation=discoveries.chosen(previous)[kept],
        test=discoveries.chosen(last)[kept],
    )


def hold_out_dated(purchases: Purchases, min_products: int, end: int, window: int) -> HeldOut:
    """Split one retailer's purchases at the same moments for all customers.

    Training ends at `end`; the validation case is a new product of the first discovery basket in
    the window behind it, the test case one of the first in the window after that. What a customer
    bought up to the window of a case is known then. Customers with fewer than `min_products` by
    the end of training, or without one of the cases, are left out. A basket belongs to where it
    began.

    Args:
        purchases: The lines.
        min_products: Distinct products that a customer bought at least by the end of training.
        end: The last moment of training, in the unit of the purchases.
        window: Length of each window.
    """
    every = _in_order(purchases)
    start = _basket_starts(every)
    regular = np.unique(_active(every.at(start <= end), min_products).customer)
    lines = every.at(np.isin(every.customer, regular))
    row = np.unique(lines.customer, return_inverse=True)[1]
    ordinal, start = _basket_ordinal(lines), _basket_starts(lines)
    first = _first_lines(row, lines.item)
    discoveries = _Discoveries(lines.at(first), row[first], ordinal[first])
    of_window = [
        _first_discovery(row[first], ordinal[first], start[first], begin, begin + window)
        for begin in (end, end + window)
    ]
    kept = np.flatnonzero((of_window[0] >= 0) & (of_window[1] >= 0))
    return HeldOut(
        customers=regular[kept],
        training=_pairs_of(lines, row, ordinal, kept, start <= end),
        known=_pairs_of(lines, row, ordinal, kept, start <= end + window),
        bought=_pairs_of(lines, row, ordinal, kept, np.isin(row, kept)),
        validation=discoveries.chosen(of_window[0])[kept],
        test=discoveries.chosen(of_window[1])[kept],
    )


def histories_of(purchases: Purchases) -> tuple[Ints, Pairs]:
    """Return all customers' ids, int64 [n] ascending, and all pairs that they bought."""
    lines = _in_order(purchases)
    customers, row = np.unique(lines.customer, return_inverse=True)
    kept, every = np.arange(len(customers)), np.ones(len(row), dtype=np.bool_)
    return customers, _pairs_of(lines, row, _basket_ordinal(lines), kept, every)


def sample_negatives(cut: HeldOut, catalogue: Ints, count: int, stream: int) -> Ints:
    """Sample products that the customer never bought, uniformly without replacement.

    Args:
        cut: The retailer's purchases, split; customer ids seed the samples.
        catalogue: Products that the retailer sells, int64 [c], ascending.
        count: Number of products per customer.
        stream: Number of the independent random stream.

    Returns:
        Products, int64 [n, count]; padded with -1 where the catalogue has fewer.
    """
    result = np.full((len(cut.customers), count), -1, dtype=np.int64)
    bounds = np.searchsorted(cut.bought.row, np.arange(len(cut.customers) + 1))
    for row, customer in enumerate(cut.customers):
        bought = cut.bought.item[bounds[row] : bounds[row + 1]]
        never = catalogue[~np.isin(catalogue, bought, assume_unique=True)]
        generator = np.random.default_rng([_SPLIT, stream, int(customer) & (2**64 - 1)])
        sampled = generator.choice(never, min(count, len(never)), replace=False)
        result[row, : len(sampled)] = sampled
    return result


def _active(purchases: Purchases, min_products: int) -> Purchases:
    """Return the lines of customers with at least `min_products` distinct products."""
    customers, row = np.unique(purchases.customer, return_inverse=True)
    products = np.bincount(row[_first_lines(row, purchases.item)], minlength=len(customers))
    return purchases.at(products[row] >= min_products)


def _in_order(purchases: Purchases) -> Purchases:
    """Sort lines by customer, start of the basket, basket and product."""
    together = purchases.at(np.lexsort((purchases.time, purchases.basket, purchases.customer)))
    start = _basket_starts(together)
    order = np.lexsort((together.item, together.basket, start, together.customer))
    return together.at(order)


def _basket_ordinal(lines: Purchases) -> Ints:
    """Return the number of each line's basket, over lines grouped by basket, int64 [L]."""
    starts = np.zeros(len(lines.customer), dtype=np.int64)
    starts[1:] = (np.diff(lines.customer) != 0) | (np.diff(lines.basket) != 0)
    return np.cumsum(starts)


def _basket_starts(lines: Purchases) -> Ints:
    """Return the time of each line's basket's earliest line, over lines grouped by basket."""
    ordinal = _basket_ordinal(lines)
    earliest = np.full(ordinal.max(initial=-1) + 1, np.iinfo(np.int64).max)
    np.minimum.at(earliest, ordinal, lines.time)
    starts: Ints = earliest[ordinal]
    return starts


def _first_lines(row: Ints, item: Ints) -> Ints:
    """Return positions of the first line of each pair of customer and product, ascending."""
    key = row * (item.max(initial=0) + 1) + item
    return np.sort(np.unique(key, return_index=True)[1])


def _discovery_baskets(row: Ints, ordinal: Ints) -> tuple[Ints, Ints]:
    """Return each customer's last and last but one discovery basket, int64 [n]; -1 for none."""
    size = row.max(initial=-1) + 1
    last = np.full(size, -1, dtype=np.int64)
    np.maximum.at(last, row, ordinal)
    previous = np.full(size, -1, dtype=np.int64)
    before = ordinal < last[row]
    np.maximum.at(previous, row[before], ordinal[before])
    return last, previous


def _first_discovery(row: Ints, ordinal: Ints, start: Ints, after: int, until: int) -> Ints:
    """Return each customer's first discovery basket that began in (after, until], else -1."""
    size, none = row.max(initial=-1) + 1, np.iinfo(np.int64).max
    found = np.full(size, none, dtype=np.int64)
    within = (start > after) & (start <= until)
    np.minimum.at(found, row[within], ordinal[within])
    return np.where(found == none, -1, found)


@dataclass(frozen=True)
class _Discoveries:
    """The first line of each pair, its customer's row and its basket's number."""

    lines: Purchases
    row: Ints
    ordinal: Ints

    def chosen(self, basket: Ints) -> Ints:
        """Return each row's product in its `basket` with the smallest hash, int64 [n]; else -1."""
        within = self.ordinal == basket[self.row]
        lines, row = self.lines.at(within), self.row[within]
        order = np.lexsort((lines.item, pair_hash(lines.customer, lines.item), row))
        rows, positions = np.unique(row[order], return_index=True)
        chosen = np.full(len(basket), -1, dtype=np.int64)
        chosen[rows] = lines.item[order][positions]
        return chosen


def pair_hash(customer: Ints, item: Ints) -> NDArray[np.uint64]:
    """Hash customer and product, uint64 [P]: SplitMix64's finaliser (Steele et al. 2014), twice."""
    state = np.full(len(customer), _SPLIT, dtype=np.uint64)
    for part in (customer, item):
        state = (state ^ part.astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return state


def _pairs_of(
    lines: Purchases, row: Ints, ordinal: Ints, kept: Ints, within: NDArray[np.bool_]
) -> Pairs:
    """Return the distinct pairs of the lines `within`, over the renumbered customers `kept`."""
    chosen = within & np.isin(row, kept)
    new, picked = np.searchsorted(kept, row[chosen]), lines.at(chosen)
    order = np.lexsort((picked.time, picked.item, new))
    new, picked = new[order], picked.at(order)
    first = np.ones(len(new), dtype=np.bool_)
    first[1:] = (np.diff(new) != 0) | (np.diff(picked.item) != 0)
    final = np.roll(first, -1)
    earliest = np.minimum.reduceat(ordinal[chosen][order], np.flatnonzero(first))
    new = new[final]
    return Pairs(new, picked.item[final], picked.time[final], _numbered(new, earliest))


def _numbered(row: Ints, ordinal: Ints) -> Ints:
    """Renumber ordinals that grow from row to row: from 0 within each row, without gaps."""
    dense = np.unique(ordinal, return_inverse=True)[1]
    lowest = np.full(row.max(initial=-1) + 1, len(dense))
    np.minimum.at(lowest, row, dense)
    return dense - lowest[row]
