"""Leave-last-basket-out split of purchases into training, validation and test.

docs/results/recommendation.md has the rule, on which every score depends. It looks at one customer
at a time and samples by a hash of customer and product, so that a customer's held-out products
depend neither on the run's seed, nor on the row order, nor on other customers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike

from securefl.data.paged import Spool
from securefl.tasks.common.purchase_lines import (
    SPLIT,
    CustomerItems,
    Ints,
    OrderedLines,
    Pairs,
    Purchases,
    starts_of,
)


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
    bought: CustomerItems
    validation: Ints
    test: Ints

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
                    pairs, kinds = getattr(part, name), _COLUMNS[name]
                    rows[name] = np.diff(pairs.start)
                    spools[name].append({column: getattr(pairs, column) for column in kinds})
                spools["rows"].append(rows)
            found: dict[str, Any] = {**spools["rows"].columns()}
            for name, kind in _SETS.items():
                found[name] = kind(start=starts_of(found[name]), **spools[name].columns())
        return cls(**found)


_SETS: Final = {"training": Pairs, "known": Pairs, "bought": CustomerItems}
_OF_PAIRS: Final = {"item": np.int32, "time": np.int64, "basket": np.int32}
_COLUMNS: Final[Mapping[str, Mapping[str, DTypeLike]]] = {
    "training": _OF_PAIRS,
    "known": _OF_PAIRS,
    "bought": {"item": np.int32},
    "rows": dict.fromkeys(("customers", "validation", "test", *_SETS), np.int64),
}


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
    everything = lines.pairs(kept, None)
    return HeldOut(
        customers=lines.customers[kept],
        training=lines.pairs(kept, previous),
        known=lines.pairs(kept, last),
        bought=CustomerItems(everything.start, everything.item),
        validation=lines.chosen(previous)[kept],
        test=lines.chosen(last)[kept],
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
    lines = OrderedLines.of(purchases)
    start = lines.basketstarts_of()
    until = [lines.baskets_until(start, moment) for moment in (end, end + window)]
    of_window = [
        lines.first_discovery(start, begin, begin + window) for begin in (end, end + window)
    ]
    early = lines.pair_row[start[lines.pair_ordinal] <= end]
    enough = np.bincount(early, minlength=len(lines.customers)) >= min_products
    kept = enough & (of_window[0] >= 0) & (of_window[1] >= 0)
    everything = lines.pairs(kept, None)
    return HeldOut(
        customers=lines.customers[kept],
        training=lines.pairs(kept, until[0]),
        known=lines.pairs(kept, until[1]),
        bought=CustomerItems(everything.start, everything.item),
        validation=lines.chosen(of_window[0])[kept],
        test=lines.chosen(of_window[1])[kept],
    )


def histories_of(purchases: Purchases) -> tuple[Ints, Pairs]:
    """Return all customers' ids, int64 [n] ascending, and all pairs that they bought."""
    lines = OrderedLines.of(purchases)
    return lines.customers, lines.pairs(np.ones(len(lines.customers), dtype=np.bool_), None)


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
    start = cut.bought.start
    for row, customer in enumerate(cut.customers):
        bought = cut.bought.item[start[row] : start[row + 1]]
        never = catalogue[~np.isin(catalogue, bought, assume_unique=True)]
        generator = np.random.default_rng([SPLIT, stream, int(customer) & (2**64 - 1)])
        sampled = generator.choice(never, min(count, len(never)), replace=False)
        result[row, : len(sampled)] = sampled
    return result
