"""From the raw Complete Journey files to the schema's tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from securefl.data.readers import read_columns
from securefl.data.schema import (
    LEVELS,
    UNKNOWN_PRODUCT,
    Column,
    Origin,
    check_columns,
    check_distinct,
)

FIRST_MONDAY: Final = pd.Timestamp("2017-01-02")
"""Monday of the source's week 2; its week 1 is the Sunday before."""

NOT_MERCHANDISE: Final = (
    "AUTOMOTIVE",
    "CHARITABLE CONT",
    "CNTRL/STORE SUP",
    "COUPON",
    "ELECT &PLUMBING",
    "FUEL",
    "GM MERCH EXP",
    "MISCELLANEOUS",
    "PROD-WHS SALES",
)
"""Departments whose rows are not goods: fuel, coupons, gift cards, donations, own supplies."""

NOT_GOODS: Final = (
    "BOTTLE DEPOSITS",
    "COUPON",
    "COUPON/MISC ITEMS",
    "COUPONS/STORE & MFG",
    "TICKETS",
)
"""Categories of the same sort that the source files under departments of goods."""

_SUMMER: Final = (pd.Timestamp("2017-03-12 07:00"), pd.Timestamp("2017-11-05 06:00"))
"""Daylight saving time of the United States' east in 2017, in UTC."""

_PRODUCTS: Final = (
    Column("product_id", "id"),
    Column("department", "text"),
    Column("product_category", "text"),
    Column("product_type", "text"),
    Column("brand", "text"),
    Column("package_size", "text"),
)
_TRANSACTIONS: Final = (
    Column("household_id", "id"),
    Column("store_id", "id"),
    Column("basket_id", "id"),
    Column("product_id", "id"),
    Column("quantity", "number"),
    Column("sales_value", "number"),
    Column("retail_disc", "number"),
    Column("coupon_match_disc", "number"),
    Column("week", "id"),
    Column("transaction_timestamp", "time"),
)
_DEMOGRAPHICS: Final = (
    Column("household_id", "id"),
    *(
        Column(name, "text")
        for name in (
            "age",
            "income",
            "home_ownership",
            "marital_status",
            "household_size",
            "household_comp",
            "kids_count",
        )
    ),
)
_CAMPAIGNS: Final = (Column("campaign_id", "id"), Column("household_id", "id"))
_DESCRIPTIONS: Final = (Column("campaign_id", "id"), Column("start_date", "time"))
_REDEMPTIONS: Final = (Column("household_id", "id"), Column("redemption_date", "time"))

CAMPAIGN: Final = "campaign"
"""The event that a household is sent a campaign's coupons, on the campaign's first day."""
COUPON: Final = "coupon"
"""The event that a household redeems a coupon."""


def week_start(week: int) -> pd.Timestamp:
    """Return the Monday on which a week of the source's count starts, in local time."""
    return FIRST_MONDAY + pd.Timedelta(weeks=week - 2)


def read_products(file: Path) -> pd.DataFrame:
    """Return the merchandise of the source's catalogue, columns as in `RetailData.products`."""
    raw = _read(file, _PRODUCTS)
    check_distinct(raw, "product_id", Origin(str(file)))
    raw = raw.set_axis(["product", *LEVELS], axis="columns")
    for level in LEVELS:
        raw[level] = raw[level].fillna("")
    dropped = raw["department"].isin(NOT_MERCHANDISE) | raw["category"].isin(NOT_GOODS)
    return raw[~dropped].sort_values("product", ignore_index=True)


def read_transactions(
    file: Path, products: pd.DataFrame, stores: Mapping[int, int], weeks: tuple[int, int]
) -> pd.DataFrame:
    """Return all retailers' purchases of merchandise, in the order of time, with a column `member`.

    Args:
        file: The source's transactions.
        products: The catalogue from `read_products`; what it does not hold is dropped.
        stores: Store id to retailer number; the sales of other stores are dropped.
        weeks: First and last week of the source's count.
    """
    raw = _read(file, _TRANSACTIONS)
    raw["member"] = raw["store_id"].map(stores)
    kept = raw[
        raw["week"].between(*weeks)
        & raw["member"].notna()
        & (raw["quantity"] > 0)
        & (raw["sales_value"] > 0)
        & raw["product_id"].isin(products["product"])
    ]
    frame = pd.DataFrame(
        {
            "member": kept["member"].astype("int64"),
            "customer": kept["household_id"].astype("int64"),
            "product": kept["product_id"].astype("int64"),
            "basket": kept["basket_id"].astype("int64"),
            "time": local_time(kept["transaction_timestamp"]),
            "quantity": kept["quantity"].astype("float64"),
            "value": kept["sales_value"].astype("float64"),
            "discount": kept["retail_disc"] + kept["coupon_match_disc"],
        }
    )
    return frame.sort_values(["time", "basket", "product"], ignore_index=True)


def local_time(utc: pd.Series) -> pd.Series:
    """Return UTC as the clock in the shops shows it (naive datetime64[ns]).

    The source's time stamps are UTC: only in the time of the United States' east does its `week`
    change at midnight from Sunday to Monday, before, in and after summer.
    """
    hours = np.where(utc.between(*_SUMMER, inclusive="left"), 4, 5)
    return (utc - pd.to_timedelta(hours, unit="h")).astype("datetime64[ns]")


def read_profiles(file: Path) -> pd.DataFrame:
    """What the source knows of some households, one row each; unknown is the empty string."""
    raw = _read(file, _DEMOGRAPHICS).rename(columns={"household_id": "customer"})
    check_distinct(raw, "customer", Origin(str(file)))
    for column in raw.columns.drop("customer"):
        raw[column] = raw[column].astype("str").fillna("")
    return raw.sort_values("customer", ignore_index=True)


def read_events(
    campaigns: Path, descriptions: Path, redemptions: Path, weeks: tuple[int, int]
) -> pd.DataFrame:
    """Return campaigns sent and coupons redeemed, columns as in `RetailerTables.browsing`.

    A coupon is good for many products, so that no event names one. Campaigns that began before the
    weeks wanted are not known, as if the retailers had only begun to write them down.

    Args:
        campaigns: Who was sent which campaign.
        descriptions: When campaigns began.
        redemptions: Who redeemed a coupon, and on which day.
        weeks: First and last week of the source's count.
    """
    sent = _read(campaigns, _CAMPAIGNS).merge(_read(descriptions, _DESCRIPTIONS), on="campaign_id")
    redeemed = _read(redemptions, _REDEMPTIONS)
    parts = (
        (CAMPAIGN, sent["household_id"], sent["start_date"]),
        (COUPON, redeemed["household_id"], redeemed["redemption_date"]),
    )
    events = pd.concat([_events(*part) for part in parts])
    inside = events["time"].between(week_start(weeks[0]), week_start(weeks[1] + 1), "left")
    return events[inside].sort_values(["time", "customer", "event"], ignore_index=True)


def _events(event: str, household: pd.Series, time: pd.Series) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "customer": household.astype("int64"),
            "product": UNKNOWN_PRODUCT,
            "time": time.astype("datetime64[ns]"),
            "event": pd.Series(event, index=household.index, dtype="str"),
        }
    )


def events_of(events: pd.DataFrame, sales: pd.DataFrame) -> pd.DataFrame:
    """Return the events of one retailer, whose purchases `sales` are.

    The source knows one chain. Here each retailer at which a household buys sends it the campaigns,
    and a coupon is redeemed at the retailers where it buys on that day.
    """
    days = sales["time"].dt.normalize()
    visits = pd.DataFrame({"customer": sales["customer"], "time": days}).drop_duplicates()
    bought = events[["customer", "time"]].merge(visits, how="left", indicator=True)["_merge"]
    here = (bought == "both").to_numpy() | (events["event"] == CAMPAIGN).to_numpy()
    own = events[here & events["customer"].isin(sales["customer"]).to_numpy()]
    return own.reset_index(drop=True)


def _read(file: Path, columns: tuple[Column, ...]) -> pd.DataFrame:
    frame = read_columns(file, [column.name for column in columns])
    check_columns(frame, columns, Origin(str(file)))
    return frame
