"""Retailers and adversarial customers for the comparison of D with D without one unit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

import numpy as np
import pandas as pd

from securefl.data.schema import UNKNOWN_PRODUCT
from securefl.data.tables import RetailData, RetailerTables

Change = Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]
"""From the lines of a customer, and those of all others, to those of the customer."""
MEMBERS = 4
PRODUCTS = 48
WEEKS = 53
MONDAY = pd.Timestamp("2024-01-01")
BASE = (50, 58, 61, 77, 79, 83)
"""Customers who are always there, and two who come; rules that go by a hash take some of them."""
LOWEST, HIGHEST = 0, 2**63 - 1


def catalogue() -> pd.DataFrame:
    """Products of every department that a task's defaults name."""
    departments = ("GROCERY", "COSMETICS", "DRUG GM", "NUTRITION")
    number = np.arange(PRODUCTS)
    frame = pd.DataFrame({"product": number, "department": [departments[n % 4] for n in number]})
    frame["category"] = [f"category {n % 12}" for n in number]
    frame["kind"] = [f"kind {n % 24}" for n in number]
    frame["brand"] = [("national", "private")[n % 2] for n in number]
    frame["size"] = [f"{1 + n % 3} LB" for n in number]
    text = ["department", "category", "kind", "brand", "size"]
    return frame.astype(dict.fromkeys(text, "str"))


def receipts(ids: Sequence[int], seed: int) -> pd.DataFrame:
    """Lines of customers who come about every second week, and buy a few things each time."""
    rng = np.random.default_rng(seed)
    rows = []
    for customer in ids:
        for week in np.flatnonzero(rng.random(WEEKS) < 0.6):
            bought = rng.choice(PRODUCTS - 1, 5, replace=False)
            day = MONDAY + pd.Timedelta(days=int(7 * week + rng.integers(7)), hours=9)
            rows += [(customer, int(p), 1000 * customer % 2**40 + week, day) for p in bought]
    frame = pd.DataFrame(rows, columns=["customer", "product", "basket", "time"])
    frame["time"] = frame["time"].astype("datetime64[ns]")
    frame["quantity"] = rng.integers(1, 4, len(frame)).astype(np.float64)
    frame["value"] = np.round(
        frame["quantity"] * (1 + frame["product"] % 5) * rng.choice([1, 0.8], len(frame)), 2
    )
    frame["discount"] = np.where(rng.random(len(frame)) < 0.2, 0.5, 0.0)
    frame["rating"] = rng.integers(0, 5, len(frame))
    return frame.astype({"customer": "int64", "product": "int64", "basket": "int64"})


def prices(names: Sequence[str]) -> pd.DataFrame:
    """Shelf prices that everyone can read."""
    rng = np.random.default_rng(5)
    product, week = np.indices((PRODUCTS, WEEKS)).reshape(2, -1)
    price = (1 + product % 5) * rng.choice([1.0, 0.8], len(product))
    days = (MONDAY + pd.to_timedelta(7 * week, unit="D")).astype("datetime64[ns]")
    lists = [
        pd.DataFrame({"member": n, "product": product, "week": days, "price": price}) for n in names
    ]
    return pd.concat(lists, ignore_index=True).astype({"member": "str"})


@cache
def agreed() -> RetailData:
    """What facts are read off: the same whatever a member's customers are."""
    names = [f"retailer-{number}" for number in range(MEMBERS)]
    members = [
        RetailerTables(name, receipts(range(100 * n, 100 * n + 25), seed=n))
        for n, name in enumerate(names)
    ]
    return RetailData("generated", tuple(members), catalogue(), None, prices(names))


AMOUNTS = {
    "gigantic": (1.7e308, 1.7e308, 1.7e308),
    "not finite": (np.inf, np.inf, np.inf),
    "no number": (np.nan, np.nan, np.nan),
    "worthless": (5e-324, 0.0, 0.0),
}
"""Quantity, value and discount of all lines of a customer."""


def _everything(rows: pd.DataFrame, base: pd.DataFrame) -> pd.DataFrame:
    time = np.sort(base["time"].to_numpy())
    rows = pd.concat([rows.iloc[[0]]] * PRODUCTS).assign(product=np.arange(PRODUCTS))
    rows["time"] = time[np.linspace(0, len(time) - 1, PRODUCTS).astype(int)]
    return rows.assign(basket=np.arange(PRODUCTS) // 4)


def _sole_buyer(rows: pd.DataFrame, base: pd.DataFrame) -> pd.DataFrame:
    del base
    last = np.arange(len(rows)) % 3 == 0
    return rows.assign(product=np.where(last, PRODUCTS - 1, rows["product"]))


def _flood(rows: pd.DataFrame, base: pd.DataFrame) -> pd.DataFrame:
    del base
    return pd.concat([rows, pd.concat([rows.iloc[[0]]] * 3000)])


def _shifted(days: int) -> Change:
    return lambda rows, _: rows.assign(time=rows["time"] + pd.Timedelta(days=days))


def _one_moment(rows: pd.DataFrame, base: pd.DataFrame) -> pd.DataFrame:
    del base
    return rows.assign(time=rows["time"].iloc[0])


def _every_day(rows: pd.DataFrame, base: pd.DataFrame) -> pd.DataFrame:
    """Also on days on which no other customer came."""
    del base
    days = np.arange(7 * WEEKS)
    rows = pd.concat([rows.iloc[[0]]] * len(days))
    time = (MONDAY + pd.to_timedelta(days, unit="D")).to_numpy()
    return rows.assign(time=time.astype("datetime64[ns]"), basket=days)


def _end_of_time(rows: pd.DataFrame, base: pd.DataFrame) -> pd.DataFrame:
    del base
    limits = [pd.Timestamp.min, pd.Timestamp.max]
    return rows.assign(time=[limits[n % 2] for n in range(len(rows))])


CHANGES: Mapping[str, Change] = {
    "flood": _flood,
    "everything": _everything,
    "sole buyer": _sole_buyer,
    "before all": _shifted(-4000),
    "after all": _shifted(4000),
    "one moment": _one_moment,
    "every day": _every_day,
    "end of time": _end_of_time,
    "unknown products": lambda rows, _: rows.assign(product=UNKNOWN_PRODUCT),
}
"""What makes a customer out of a copy of the customer with most lines."""
KINDS = ("copy", "same baskets", *AMOUNTS, *CHANGES)


def adversary(kind: str, customer: int, base: pd.DataFrame) -> pd.DataFrame:
    """Return the lines of one customer who is as harmful as the schema allows."""
    counts = base["customer"].value_counts()
    rows = base[base["customer"] == counts.index[0]].copy()
    if kind in AMOUNTS:
        rows[["quantity", "value", "discount"]] = AMOUNTS[kind]
    elif kind in CHANGES:
        rows = CHANGES[kind](rows, base)
    own = rows["basket"] if kind == "same baskets" else rows["basket"] + 2**41
    return rows.assign(customer=customer, basket=own)


Pair = tuple[str, pd.DataFrame, pd.DataFrame]


def neighbours(unit: str, *, kinds: Sequence[str], customers: int) -> Iterator[Pair]:
    """Yield a name, D and D without one unit; lines each, of one retailer."""
    base = receipts(BASE[:customers], seed=9)
    for place, customer in (("lowest", LOWEST), ("highest", HIGHEST)):
        for kind in kinds:
            more = adversary(kind, customer, base)
            if unit == "record":
                more = more.iloc[:1].assign(customer=BASE[0] if place == "lowest" else HIGHEST)
            yield f"{kind}, {place} id", pd.concat([base, more], ignore_index=True), base
    for only in BASE[:2]:
        lines = base[base["customer"] == only]
        yield "the only unit", lines[: 1 if unit == "record" else None], base[:0]
    for gone in BASE[:customers]:
        of = base["customer"] == gone
        if unit == "record":
            of &= of.cumsum() == 1
        yield f"without {gone}", base, base[~of]
