"""Generated tables in the Complete Journey's schema: small, and no row of the real data."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from securefl.data.sources.complete_journey.source import store_map

WEEKS = 6
DEPARTMENTS = ("GROCERY", "PRODUCE", "DRUG GM", "FUEL", "COUPON")
FIRST_INSTANT = pd.Timestamp("2017-01-01 05:00")  # Sunday's midnight in the shops, in UTC


@dataclass(frozen=True)
class Journey:
    """The generated tables, and the folder that holds them as Parquet files."""

    folder: Path
    transactions: pd.DataFrame
    products: pd.DataFrame
    promotions: pd.DataFrame
    demographics: pd.DataFrame
    campaigns: pd.DataFrame
    campaign_descriptions: pd.DataFrame
    coupon_redemptions: pd.DataFrame

    def rewrite(self, table: str, frame: pd.DataFrame, folder: Path) -> Path:
        """A copy of the folder in which one table is another."""
        for name in [part.name for part in fields(self) if part.name != "folder"]:
            content = frame if name == table else getattr(self, name)
            content.to_parquet(folder / f"{name}.parquet", index=False)
        return folder


def _stores(count: int) -> np.ndarray:
    by_retailer: dict[int, list[int]] = {}
    for store, retailer in store_map().items():
        by_retailer.setdefault(retailer, []).append(store)
    return np.array([store for stores in by_retailer.values() for store in stores[:count]])


def _products(rng: np.random.Generator) -> pd.DataFrame:
    count = 60
    department = np.array(DEPARTMENTS)[np.arange(count) % len(DEPARTMENTS)]
    category = np.array([f"category {number % 12}" for number in range(count)], dtype=object)
    category[0] = "COUPON/MISC ITEMS"
    category[1] = None
    return pd.DataFrame(
        {
            "product_id": rng.permutation(np.arange(1000, 1000 + 7 * count, 7)),
            "manufacturer_id": 1,
            "department": department,
            "brand": np.where(np.arange(count) % 3 == 0, "Private", "National"),
            "product_category": category,
            "product_type": [f"kind {number}" for number in range(count)],
            "package_size": [None if number % 4 == 0 else "12 OZ" for number in range(count)],
        }
    )


def _transactions(rng: np.random.Generator, products: pd.DataFrame) -> pd.DataFrame:
    baskets, lines = 900, 5
    stores = np.append(_stores(3), 999_999)
    basket = np.repeat(np.arange(baskets), lines)
    minutes = np.sort(rng.integers(0, (7 * WEEKS - 6) * 24 * 60, baskets))[basket]
    quantity = rng.integers(0, 4, baskets * lines)
    frame = pd.DataFrame(
        {
            "household_id": rng.integers(1, 80, baskets)[basket],
            "store_id": rng.choice(stores, baskets)[basket],
            "basket_id": 31_000_000_000 + basket,
            "product_id": rng.choice(products["product_id"], baskets * lines),
            "quantity": quantity,
            "sales_value": np.round(quantity * rng.choice([0.0, 1.25, 2.99], quantity.size), 2),
            "retail_disc": np.round(rng.choice([0.0, 0.5], quantity.size), 2),
            "coupon_disc": 0.0,
            "coupon_match_disc": np.round(rng.choice([0.0, 0.25], quantity.size), 2),
            "week": 1 + (minutes // (24 * 60) + 6) // 7,
            "transaction_timestamp": FIRST_INSTANT + pd.to_timedelta(minutes, unit="min"),
        }
    )
    return frame.drop_duplicates(["basket_id", "product_id"])


def _promotions(rng: np.random.Generator, products: pd.DataFrame) -> pd.DataFrame:
    rows = 3000
    frame = pd.DataFrame(
        {
            "product_id": rng.choice(products["product_id"], rows),
            "store_id": rng.choice(np.append(_stores(3), 999_999), rows),
            "display_location": rng.choice(["0", "3", "A"], rows),
            "mailer_location": rng.choice(["0", "0", "D"], rows),
            "week": np.sort(rng.integers(1, WEEKS + 1, rows)),
        }
    )
    return frame[(frame["display_location"] != "0") | (frame["mailer_location"] != "0")]


def _demographics() -> pd.DataFrame:
    households = np.arange(1, 30)
    columns = ("age", "income", "home_ownership", "marital_status")
    frame = pd.DataFrame({"household_id": households, **dict.fromkeys(columns, "some")})
    frame.loc[3, "home_ownership"] = None
    return frame.assign(household_size="2", household_comp="2 Adults", kids_count="0")


def _campaigns() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Campaign 1 before the first week, 2 within; households 1 to 79 redeem on one day."""
    days = pd.to_datetime(["2016-12-01", "2017-01-10"])
    households = np.arange(1, 80)
    sent = pd.DataFrame({"campaign_id": [1, 2, 2, 2], "household_id": [1, 1, 2, 10_000]})
    told = pd.DataFrame({"campaign_id": [1, 2], "campaign_type": "Type A", "start_date": days})
    redeemed = pd.DataFrame(
        {"household_id": households, "coupon_upc": 5, "redemption_date": days[1]}
    )
    return sent, told, redeemed


@pytest.fixture(scope="session")
def journey(tmp_path_factory) -> Journey:
    rng = np.random.default_rng(20170102)
    products = _products(rng)
    made = Journey(
        tmp_path_factory.mktemp("journey"),
        _transactions(rng, products),
        products,
        _promotions(rng, products),
        _demographics(),
        *_campaigns(),
    )
    made.rewrite("", pd.DataFrame(), made.folder)
    return made


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> Path:
    """No test reads or leaves prepared tables outside its own folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SECUREFL_CACHE", str(folder))
    return folder
