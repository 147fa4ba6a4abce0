"""The tables that every source delivers: one schema for all retailers, whatever they use inside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import RLock
from typing import Any, TypeVar

import pandas as pd

T = TypeVar("T")
_COMPUTING = RLock()


@dataclass(frozen=True)
class _Remembering:
    """What follows from tables, which do not change."""

    _computed: dict[object, Any] = field(
        default_factory=dict, init=False, repr=False, compare=False, kw_only=True
    )

    def once(self, key: object, compute: Callable[[], T]) -> T:
        """Return what follows from these tables, computed once a key.

        Of threads that ask at the same time, one computes.
        """
        if key not in self._computed:
            with _COMPUTING:
                if key not in self._computed:
                    self._computed[key] = compute()
        found: T = self._computed[key]
        return found


@dataclass(frozen=True)
class RetailerTables(_Remembering):
    """What one retailer holds. It stays on the retailer's machine.

    Attributes:
        name: The member's name, unique in the consortium.
        transactions: One row a purchase line, columns `customer`, `product`, `basket` (int64, or
            int32 where all fit), `time` (datetime64), `quantity` (float64, or int32 where none has
            a fraction; > 0), `value` (float64, what was paid, >= 0), `discount` (float64, >= 0),
            and, where the source has it, `rating` (integer, 0-based class). Calculate with them
            only once they are int64 or float64: a product of two int32 does not fit.
        profiles: Optional, one row a customer, column `customer` and free attribute columns.
        browsing: Optional, one row an event, columns `customer`, `product`, `time` and, where other
            things happened than that a product was looked at, `event` (string).
    """

    name: str
    transactions: pd.DataFrame
    profiles: pd.DataFrame | None = None
    browsing: pd.DataFrame | None = None


@dataclass(frozen=True)
class RetailData(_Remembering):
    """The consortium's data as a simulation on one machine sees it: all members side by side.

    Attributes:
        source: Name of the source, for example `complete-journey`.
        members: The retailers, in an order that is part of the source's definition.
        products: The agreed catalogue, one row a product, unique column `product` (int64), then
            `department`, `category`, `kind`, `brand`, `size` (strings, empty where unknown).
        promotions: Optional, columns `member` (name), `product`, `week` (Monday, datetime64),
            `display` (bool), `mailer` (bool).
        prices: Optional, columns `member` (name), `product`, `week` (Monday, datetime64), `price`
            (float64, > 0): what the shop charged everyone for a unit.
        made_up: Whether no table is of a retailer; see `public_catalogue.agreed_data`.
        notes: What was found while files were read and refused nothing, one line each.
    """

    source: str
    members: tuple[RetailerTables, ...]
    products: pd.DataFrame
    promotions: pd.DataFrame | None = None
    prices: pd.DataFrame | None = None
    made_up: bool = False
    notes: tuple[str, ...] = ()
