"""Retailers and adversarial customers for the comparison of D with D without one unit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import pandas as pd

from securefl.data.tables import RetailData, RetailerTables

MEMBERS = 4
PRODUCTS = 48
WEEKS = 53
MONDAY = pd.Timestamp("2024-01-01")
BASE = (50, 58, 61, 77, 79, 83)
"""Customers who are always there, and two who come; rules that go by a hash take some of them."""
LOWEST, HIGHEST = 16, 2**53 - 34
KINDS = (
    *("copy", "gigantic", "flood", "everything", "sole buyer", "before all", "after all"),
    "not finite",
)


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


def adversary(kind: str, customer: int, base: pd.DataFrame) -> pd.DataFrame:
    """Return the lines of one customer who is as harmful as the schema allows."""
    counts = base["customer"].value_counts()
    rows = base[base["customer"] == counts.index[0]].copy()
    if kind == "gigantic":
        rows[["quantity", "value", "discount"]] = 1.7e308
    elif kind == "not finite":
        rows[["quantity", "value", "discount"]] = np.inf
    elif kind == "flood":
        rows = pd.concat([rows, pd.concat([rows.iloc[[0]]] * 3000)])
    elif kind == "everything":
        time = np.sort(base["time"].to_numpy())
        rows = pd.concat([rows.iloc[[0]]] * PRODUCTS).assign(product=np.arange(PRODUCTS))
        rows["time"] = time[np.linspace(0, len(time) - 1, PRODUCTS).astype(int)]
        rows["basket"] = np.arange(PRODUCTS) // 4
    elif kind == "sole buyer":
        rows["product"] = np.where(np.arange(len(rows)) % 3 == 0, PRODUCTS - 1, rows["product"])
    elif kind == "before all":
        rows["time"] = rows["time"] - pd.Timedelta(days=4000)
    elif kind == "after all":
        rows["time"] = rows["time"] + pd.Timedelta(days=4000)
    return rows.assign(customer=customer, basket=rows["basket"] + 2**41)


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
