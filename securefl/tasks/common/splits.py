"""Leave-last-basket-out split of purchases into training, validation and test.

docs/results/recommendation.md has the rule, on which every score depends. It looks at one customer
at a time and samples by a hash of customer and product, so that a customer's held-out products
depend neither on the run's seed, nor on the row order, nor on other customers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from securefl.data.paged import BLOCK, Spool, release
from securefl.data.radix import stable_order
from securefl.tasks.common.purchase_lines import (
    SPLIT,
    CustomerItems,
    Ints,
    OrderedLines,
    Pairs,
    Purchases,
    changes,
    starts_of,
)

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class HeldOut:
    """One retailer's purchases, split; customers are rows 0..n-1 in ascending order of their id.

    What is known and what was bought differ from training in few pairs, and are put together when
    they are first asked for, which is when a model is scored.

    Attributes:
        customers: Customer id of each row, int64 [n].
        training: Purchases before each customer's validation basket.
        later: Purchases of pairs that training does not have, or has with an earlier time: times
            are of the last purchase before the test basket.
        known_later: Which of these were bought before the test basket, bool.
        validation: Held-out product of each row, int64 [n].
        test: Held-out product of each row, int64 [n].
    """

    customers: Ints
    training: Pairs
    later: Pairs
    known_later: Bools
    validation: Ints
    test: Ints

    @cached_property
    def known(self) -> Pairs:
        """Purchases before each customer's test basket."""
        return _united(self.later.where(self.known_later), self.training)

    @cached_property
    def bought(self) -> CustomerItems:
        """Purchases in the whole period."""
        everything = _united(self.later, self.training)
        return CustomerItems(everything.start, everything.item)

    @classmethod
    def of(
        cls, lines: OrderedLines, kept: Bools, baskets: tuple[Ints, Ints], ends: tuple[Ints, Ints]
    ) -> HeldOut:
        """Split the lines of some customers.

        Args:
            lines: The lines.
            kept: The customers, bool [n].
            baskets: Baskets of each customer's validation and test case, int64 [n].
            ends: Baskets before which training and what is known end, int64 [n].
        """
        times = [lines.latest(end) for end in ends]
        trained, known = (
            kept[lines.pair_row] & (lines.pair_ordinal < end[lines.pair_row]) for end in ends
        )
        later = kept[lines.pair_row] & (~trained | (times[0] < times[1]))
        return cls(
            customers=lines.customers[kept],
            training=lines.pairs(kept, trained, times[0]),
            later=lines.pairs(kept, later, times[1]),
            known_later=known[later],
            validation=lines.chosen(baskets[0])[kept],
            test=lines.chosen(baskets[1])[kept],
        )

    @classmethod
    def joined(cls, parts: Iterable[HeldOut]) -> HeldOut:
        """Return the split of groups of customers whose ids ascend from group to group.

        What there is one of a pair lies in files: see `securefl.data.paged`.
        """
        with ExitStack() as stack:
            spools = {name: stack.enter_context(Spool(kinds)) for name, kinds in _COLUMNS.items()}
            for part in parts:
                rows = {name: getattr(part, name) for name in ("customers", "validation", "test")}
                for name in _SETS:
                    pairs = getattr(part, name)
                    rows[name] = np.diff(pairs.start)
                    spools[name].append({column: getattr(pairs, column) for column in _OF_PAIRS})
                spools["known_later"].append({"known_later": part.known_later})
                spools["rows"].append(rows)
            found: dict[str, Any] = {**spools["rows"].columns(), **spools["known_later"].columns()}
            for name in _SETS:
                found[name] = Pairs(start=starts_of(found[name]), **spools[name].columns())
        return cls(**found)


_SETS: Final = ("training", "later")
_OF_PAIRS: Final = {"item": np.int32, "time": np.int64, "basket": np.int32}
_COLUMNS: Final[Mapping[str, Mapping[str, DTypeLike]]] = {
    **dict.fromkeys(_SETS, _OF_PAIRS),
    "known_later": {"known_later": np.bool_},
    "rows": dict.fromkeys(("customers", "validation", "test", *_SETS), np.int64),
}


def _united(first: Pairs, second: Pairs) -> Pairs:
    """Return the pairs of both, of one that is in both that of `first`; customer by customer."""
    counts = np.zeros(len(first.start) - 1, dtype=np.int64)
    with Spool(_OF_PAIRS) as spool:
        for rows in _row_spans(second.start):
            parts = [one.of_rows(rows) for one in (first, second)]
            row = np.concatenate([part.row for part in parts])
            columns = {
                name: np.concatenate([getattr(part, name) for part in parts]) for name in _OF_PAIRS
            }
            order = stable_order(columns["item"], row)
            new = changes(row[order], columns["item"][order])
            counts[rows] = np.bincount(row[order][new], minlength=rows.stop - rows.start)
            spool.append({name: column[order][new] for name, column in columns.items()})
            release()
        return Pairs(start=starts_of(counts), **spool.columns())


def _row_spans(start: Ints) -> Iterator[slice]:
    """Yield spans of customer rows with about a block of pairs each, one customer at least."""
    begin, rows = 0, len(start) - 1
    while begin < rows:
        end = int(np.searchsorted(start, start[begin] + BLOCK, side="right")) - 1
        end = min(max(end, begin + 1), rows)
        yield slice(begin, end)
        begin = end


def hold_out(purchases: Purchases, min_products: int) -> HeldOut:
    """Split one retailer's purchases; leave out customers with fewer than `min_products`.

    A discovery basket of a customer contains a product that they never bought before. A new product
    sampled from the last one is the test case, one from the last but one the validation case, and
    training ends before the latter. Customers without a training purchase are left out.
    """
    lines = OrderedLines.of(purchases)
    last, previous = lines.discovery_baskets()
    enough = np.bincount(lines.pair_row, minlength=len(lines.customers)) >= min_products
    kept = enough & (lines.first_basket < previous)
    return HeldOut.of(lines, kept, (previous, last), (previous, last))


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
    lines = OrderedLines.of(purchases)
    start = lines.basketstarts_of()
    until = lines.baskets_until(start, end), lines.baskets_until(start, end + window)
    of_window = (
        lines.first_discovery(start, end, end + window),
        lines.first_discovery(start, end + window, end + 2 * window),
    )
    early = lines.pair_row[start[lines.pair_ordinal] <= end]
    enough = np.bincount(early, minlength=len(lines.customers)) >= min_products
    kept = enough & (of_window[0] >= 0) & (of_window[1] >= 0)
    return HeldOut.of(lines, kept, of_window, until)


def histories_of(purchases: Purchases) -> tuple[Ints, Pairs]:
    """Return all customers' ids, int64 [n] ascending, and all pairs that they bought."""
    lines = OrderedLines.of(purchases)
    return lines.customers, lines.everything()


@dataclass(frozen=True)
class Buyers:
    """Customers and what they bought, see `HeldOut`."""

    customers: Ints
    bought: CustomerItems


def sample_negatives(cut: HeldOut | Buyers, catalogue: Ints, count: int, stream: int) -> Ints:
    """Sample products that the customer never bought, uniformly without replacement.

    Args:
        cut: Customers, whose ids seed the samples, and what they bought.
        catalogue: Products that the retailer sells, int64 [c], ascending.
        count: Number of products per customer.
        stream: Number of the independent random stream.

    Returns:
        Products, int64 [n, count]; padded with -1 where the catalogue has fewer.
    """
    result = np.full((len(cut.customers), count), -1, dtype=np.int64)
    start = cut.bought.start
    for row, customer in enumerate(cut.customers):
        bought = cut.bought.item[start[row] : start[row + 1]]
        never = catalogue[~np.isin(catalogue, bought, assume_unique=True)]
        generator = np.random.default_rng([SPLIT, stream, int(customer) & (2**64 - 1)])
        sampled = generator.choice(never, min(count, len(never)), replace=False)
        result[row, : len(sampled)] = sampled
    return result
