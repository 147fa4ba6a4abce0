"""Returns taken off the purchases that they belong to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Netted:
    """What is left of purchases after returns.

    Attributes:
        quantity: float64 [n]; 0 where a purchase was returned whole, and for returns themselves.
        value: float64 [n], in proportion.
        unmatched: How many returns found too few units bought before.
    """

    quantity: npt.NDArray[np.float64]
    value: npt.NDArray[np.float64]
    unmatched: int


def net(
    customer: npt.NDArray[np.int64],
    product: npt.NDArray[np.int64],
    quantity: npt.NDArray[np.float64],
    value: npt.NDArray[np.float64],
) -> Netted:
    """Take each return off the customer's earlier purchases of the product, latest first.

    Lines are in the order of time. A purchase that is returned in part keeps its price; of a
    return, units that were not bought before are left out.

    Args:
        customer: int64 [n].
        product: int64 [n].
        quantity: float64 [n], below 0 for a return.
        value: float64 [n].
    """
    left, worth = quantity.astype(np.float64), value.copy()
    returned = np.flatnonzero(quantity < 0)
    lines = _lines_of(customer, product, returned)
    unmatched = 0
    open_purchases: dict[tuple[int, int], list[int]] = {}
    for line in lines:
        pair = (int(customer[line]), int(product[line]))
        stack = open_purchases.setdefault(pair, [])
        if quantity[line] >= 0:
            stack.append(int(line))
            continue
        unmatched += not _take(-float(quantity[line]), stack, left, worth)
        left[line] = worth[line] = 0.0
    return Netted(left, worth, unmatched)


def _lines_of(
    customer: npt.NDArray[np.int64],
    product: npt.NDArray[np.int64],
    returned: npt.NDArray[np.intp],
) -> npt.NDArray[np.intp]:
    """Return the lines of customers and products that have a return, in order."""
    buyers, goods = np.unique(customer[returned]), np.unique(product[returned])
    some = np.flatnonzero(np.isin(customer, buyers) & np.isin(product, goods))
    pairs = set(zip(customer[returned].tolist(), product[returned].tolist(), strict=True))
    keys = zip(customer[some].tolist(), product[some].tolist(), strict=True)
    kept = np.fromiter((key in pairs for key in keys), dtype=bool, count=len(some))
    chosen: npt.NDArray[np.intp] = some[kept]
    return chosen


def _take(
    units: float,
    stack: list[int],
    left: npt.NDArray[np.float64],
    worth: npt.NDArray[np.float64],
) -> bool:
    """Take units off the latest purchases; return whether there were enough."""
    while units > 0 and stack:
        line = stack[-1]
        taken = min(units, float(left[line]))
        worth[line] -= worth[line] * (taken / left[line])
        left[line] -= taken
        units -= taken
        if left[line] <= 0:
            worth[line] = 0.0
            stack.pop()
    return units <= 0
