"""Purchase lines in the order of the split: by customer, basket and product, with their pairs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from securefl.data.grouping import grouped
from securefl.data.paged import Arrays
from securefl.data.radix import stable_order
from securefl.data.tables import RetailData
from securefl.data.threads import by_threads

Ints = NDArray[np.int64]
Codes = NDArray[np.int32]

SPLIT = 174
"""Seed of every sample of the split; a constant, so that all runs have the same one."""


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
class CustomerItems:
    """Distinct pairs of customer row and product, ascending by both.

    Attributes:
        start: Where each customer row's pairs begin, int64 [n + 1].
        item: Products, int32 [P].
    """

    start: Ints
    item: Codes

    @property
    def row(self) -> Ints:
        """Return the customer row of each pair, int64 [P]."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))


@dataclass(frozen=True)
class Pairs(CustomerItems):
    """Pairs with their time and order.

    Attributes:
        time: Last purchase of the pair, int64 [P], in the unit of the purchases.
        basket: Discovery basket of the customer in which the pair was bought first, int32 [P],
            counted from 0.
    """

    time: Ints
    basket: Codes

    def where(self, chosen: NDArray[np.bool_]) -> Pairs:
        """Return some of the pairs, bool [P], of the same customer rows."""
        start = np.append(0, np.cumsum(chosen))[self.start]
        return Pairs(start, self.item[chosen], self.time[chosen], self.basket[chosen])

    def of_rows(self, rows: slice) -> Pairs:
        """Return the pairs of some customer rows, which become rows 0 and so on."""
        start = self.start[rows.start : rows.stop + 1]
        span = slice(start[0], start[-1])
        return Pairs(start - start[0], self.item[span], self.time[span], self.basket[span])

    def latest(self, customers: int) -> Ints:
        """Return each customer's last purchase time, int64 [n]; the smallest int64 without any."""
        latest = np.full(customers, np.iinfo(np.int64).min)
        np.maximum.at(latest, self.row, self.time)
        return latest


def starts_of(counts: Ints) -> Ints:
    """Return where groups of so many begin, and where the last one ends, int64 [n + 1]."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])


@dataclass(frozen=True)
class OrderedLines:
    """Lines by customer, start of the basket, basket and product, and their distinct pairs.

    Pairs are ascending by customer and product. Lines of pairs are in the order of these.

    Attributes:
        customers: Customer ids, int64 [n], ascending.
        time: Time of each line, int64 [L].
        ordinal: Number of each line's basket, int64 [L], ascending.
        first_basket: Number of each customer's first basket, int64 [n].
        line_row: Customer row of each line of pairs, int64 [L].
        line_ordinal: Number of its basket, int64 [L].
        line_time: Its time, int64 [L].
        begin: Where each pair begins among these, int64 [P].
        pair_item: Product of each pair, int64 [P].
    """

    customers: Ints
    time: Ints
    ordinal: Ints
    first_basket: Ints
    line_row: Ints
    line_ordinal: Ints
    line_time: Ints
    begin: Ints
    pair_item: Ints

    @classmethod
    def of(cls, purchases: Purchases) -> OrderedLines:
        """Put lines in any order in order."""
        lines = _in_order(purchases)
        starts = changes(lines.customer)
        row = np.cumsum(starts) - 1
        ordinal = _basket_ordinal(lines)
        by_pair = stable_order(lines.item, row)
        item = lines.item[by_pair]
        row = row[by_pair]
        begin = np.flatnonzero(changes(row) | changes(item))
        return cls(
            customers=lines.customer[starts],
            time=lines.time,
            ordinal=ordinal,
            first_basket=ordinal[starts],
            line_row=row,
            line_ordinal=ordinal[by_pair],
            line_time=lines.time[by_pair],
            begin=begin,
            pair_item=item[begin],
        )

    @cached_property
    def pair_row(self) -> Ints:
        """Return the customer row of each pair, int64 [P]."""
        return self.line_row[self.begin]

    @cached_property
    def pair_ordinal(self) -> Ints:
        """Return the number of the basket in which each was bought first, int64 [P]."""
        return self.line_ordinal[self.begin]

    def discovery_baskets(self) -> tuple[Ints, Ints]:
        """Return each customer's last and last but one discovery basket, int64 [n]; -1: none."""
        last = np.full(len(self.customers), -1, dtype=np.int64)
        np.maximum.at(last, self.pair_row, self.pair_ordinal)
        previous = np.full(len(self.customers), -1, dtype=np.int64)
        before = self.pair_ordinal < last[self.pair_row]
        np.maximum.at(previous, self.pair_row[before], self.pair_ordinal[before])
        return last, previous

    def basketstarts_of(self) -> Ints:
        """Return the time of each basket's earliest line, int64 [B]; ascends for a customer."""
        if not len(self.ordinal):
            return np.zeros(0, dtype=np.int64)
        starts: Ints = np.minimum.reduceat(self.time, np.flatnonzero(changes(self.ordinal)))
        return starts

    def baskets_until(self, start: Ints, moment: int) -> Ints:
        """Return each customer's first basket that began after a moment, or else their end."""
        first = np.append(self.first_basket, len(start))
        before = np.append(0, np.cumsum(start <= moment))
        within: Ints = np.diff(before[first])
        return self.first_basket + within

    def first_discovery(self, start: Ints, after: int, until: int) -> Ints:
        """Return each customer's first discovery basket that began in (after, until], else -1."""
        none = np.iinfo(np.int64).max
        found = np.full(len(self.customers), none, dtype=np.int64)
        began = start[self.pair_ordinal]
        within = (began > after) & (began <= until)
        np.minimum.at(found, self.pair_row[within], self.pair_ordinal[within])
        return np.where(found == none, -1, found)

    def everything(self) -> Pairs:
        """Return all pairs."""
        every = np.ones(len(self.begin), dtype=np.bool_)
        return self.pairs(np.ones(len(self.customers), dtype=np.bool_), every, self.latest(None))

    def latest(self, limit: Ints | None) -> Ints:
        """Return each pair's last purchase before a basket of each customer, int64 [n]; int64 [P].

        It is the smallest int64 for a pair that was bought later only.
        """
        time = self.line_time
        if limit is not None:
            within = self.line_ordinal < limit[self.line_row]
            time = np.where(within, time, np.iinfo(np.int64).min)
        latest: Ints = np.maximum.reduceat(time, self.begin) if len(time) else time
        return latest

    def pairs(self, kept: NDArray[np.bool_], chosen: NDArray[np.bool_], time: Ints) -> Pairs:
        """Return some pairs, bool [P], of some customers, bool [n].

        Discovery baskets have the same numbers whichever pairs these are.

        Args:
            kept: The customers.
            chosen: The pairs, of no other customer.
            time: Time of each pair, int64 [P].
        """
        counts = np.bincount(self.pair_row[chosen], minlength=len(kept))[kept]
        return Pairs(
            start=starts_of(counts),
            item=self.pair_item[chosen].astype(np.int32),
            time=time[chosen],
            basket=self._number[chosen].astype(np.int32),
        )

    @cached_property
    def _number(self) -> Ints:
        """Return the number of each pair's discovery basket, from 0 for each customer."""
        found = np.zeros(len(self.ordinal) + 1, dtype=np.int64)
        found[self.pair_ordinal] = 1
        number = np.cumsum(found)
        return number[self.pair_ordinal] - number[self.first_basket][self.pair_row]

    def chosen(self, basket: Ints) -> Ints:
        """Return each row's new product in its `basket` with the smallest hash, int64 [n]; -1."""
        within = self.pair_ordinal == basket[self.pair_row]
        item, row = self.pair_item[within], self.pair_row[within]
        order = np.lexsort((item, pair_hash(self.customers[row], item), row))
        rows, positions = np.unique(row[order], return_index=True)
        chosen = np.full(len(basket), -1, dtype=np.int64)
        chosen[rows] = item[order][positions]
        return chosen


def changes(*columns: NDArray[np.signedinteger[Any]]) -> NDArray[np.bool_]:
    """Return where a value differs from the one before, bool [n]; the first one does."""
    found = np.ones(len(columns[0]), dtype=np.bool_)
    if len(found):
        np.not_equal(columns[0][1:], columns[0][:-1], out=found[1:])
    for column in columns[1:]:
        found[1:] |= column[1:] != column[:-1]
    return found


def _in_order(purchases: Purchases) -> Purchases:
    """Sort lines by customer, start of the basket, basket and product."""
    alone = purchases.at(stable_order(purchases.customer))
    if _is_in_order(alone):
        return alone
    together = purchases.at(stable_order(purchases.time, purchases.basket, purchases.customer))
    ordinal = _basket_ordinal(together)
    start = together.time[changes(ordinal)][ordinal]
    order = stable_order(together.item, together.basket, start, together.customer)
    return together.at(order)


def _is_in_order(lines: Purchases) -> bool:
    """Return whether lines by customer are in order, so that nothing is left to sort.

    Tables are by time, receipt and product, so that they are where a receipt has one time.
    """
    new = changes(lines.customer, lines.basket)
    if _parted(lines.customer[new], lines.basket[new]):
        return False
    within, other = ~new[1:], lines.customer[1:] != lines.customer[:-1]
    later, same = np.diff(lines.time) > 0, np.diff(lines.time) == 0
    after = later | (same & (np.diff(lines.basket) > 0))
    good = np.where(within, same & (np.diff(lines.item) >= 0), other | after)
    return bool(good.all())


def _parted(customer: Ints, basket: Ints) -> bool:
    """Return whether a customer's receipt stands in two places among runs of receipts."""
    same = customer[1:] == customer[:-1]
    if (basket[1:] > basket[:-1])[same].all():
        return False  # numbers of receipts grow: no need to sort
    order = np.lexsort((basket, customer))
    customer, basket = customer[order], basket[order]
    return bool(((np.diff(customer) == 0) & (np.diff(basket) == 0)).any())


def _basket_ordinal(lines: Purchases) -> Ints:
    """Return the number of each line's basket, over lines grouped by basket, int64 [L]."""
    ordinal: Ints = np.cumsum(changes(lines.customer, lines.basket)) - 1
    return ordinal if len(ordinal) else np.zeros(0, dtype=np.int64)


def pair_hash(customer: Ints, item: Ints) -> NDArray[np.uint64]:
    """Hash customer and product, uint64 [P]: SplitMix64's finaliser (Steele et al. 2014), twice."""
    state = np.full(len(customer), SPLIT, dtype=np.uint64)
    for part in (customer, item):
        state = (state ^ part.astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return state


def buyers(data: RetailData) -> pd.Series:
    """Return the number of customers of all members who bought a product, by product id."""
    return data.once("buyers", partial(_buyers, data))


def _buyers(data: RetailData) -> pd.Series:
    lines = [
        {name: m.transactions[name].to_numpy() for name in ("customer", "product")}
        for m in data.members
    ]
    found = pd.Series(dtype=np.int64)
    for bought in by_threads(_counted, grouped(lines, "customer", least=0)):
        found = found.add(bought, fill_value=0).astype(np.int64)
    return found


def _counted(part: Arrays) -> pd.Series:
    """Return the number of customers who bought each product, of lines of a few customers."""
    order = stable_order(part["customer"], part["product"])
    customer, product = (part[name][order] for name in ("customer", "product"))
    bought = product[changes(customer, product)]
    numbers, counts = np.unique(bought[bought >= 0], return_counts=True)
    return pd.Series(counts, index=numbers.astype(np.int64))
