"""Small federations of each task family, on generated data with something to learn together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from securefl.config.load import load_config
from securefl.config.schema import RunConfig
from securefl.data.sources.registry import load
from securefl.data.sources.synthetic.purchases import catalogue
from securefl.data.sources.synthetic.source import FIRST_DAY
from securefl.data.tables import RetailData, RetailerTables
from securefl.ml.seeds import derive_seed

_PURCHASES: Final = {"table": "purchases", "items": 96, "lines": [15, 30], "shared_items": True}
FAMILIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "ranking": {
        "task": "recommendation",
        "rounds": 4,
        "data": {**_PURCHASES, "customers": 100},
        "model": {"name": "mf", "dim": 8},
        "recommendation": {"min_households": 1, "min_products": 4, "negatives": 30},
        "training": {"learning_rate": 0.02, "batch_size": 64, "local_epochs": 2},
    },
    "demand": {
        "task": "demand",
        "rounds": 3,
        "data": {"table": "demand", "products": 6, "days": 160, "shared_items": True},
        "training": {"batch_size": 64, "local_epochs": 2},
    },
    "churn": {
        "task": "churn",
        "rounds": 4,
        "data": {"table": "purchases", "items": 96, "customers": 100, "lines": [15, 90]},
    },
    "pricing": {
        "task": "pricing",
        "rounds": 1,
        "data": {"source": "complete-journey"},
        "model": {"influence": 30.0},
        "pricing": {"min_mean": 1.0},
        "training": {
            "optimizer": "sgd",
            "learning_rate": 1.0,
            "batch_size": 1 << 20,
            "local_epochs": 1,
        },
        "secure": {"limit": 64.0},
    },
}
"""Task family to the configuration that attacks are played on."""
_WEEKS: Final = 40
_ELASTICITIES: Final = np.array([-2.5, -0.8, -1.6])
_DISCOUNTS: Final = (0.0, -0.1, -0.3)
_PRODUCTS: Final = 12


def family_config(family: str, members: int, seed: int) -> RunConfig:
    """Return the configuration of a family with so many members, in mode `plain`.

    Without masks the sum is the same: a mask hides an update and does not change it.
    """
    tree = dict(FAMILIES[family])
    data = tree.pop("data")
    if "source" not in data:
        data = {"source": "tutorial", "retailers": members, "seed": seed, **data}
    common = {"mode": "plain", "seed": seed, "data": data, "engine": {"workers": 1}}
    return load_config(None, {**tree, **common, "references": {"enabled": False}})


def family_data(family: str, config: RunConfig, members: int) -> RetailData:
    """Return the data of all members; the last retailers are smaller than the first ones."""
    if family == "pricing":
        return _at_prices(config, members)
    data = load(config.data)
    if family == "demand":
        return data
    smaller = (_some_customers(tables, n) for n, tables in enumerate(data.members))
    return replace(data, members=tuple(smaller))


def _some_customers(tables: RetailerTables, place: int) -> RetailerTables:
    """Return a retailer of its place, whose customers are fewer the later it comes."""
    customer = tables.transactions["customer"]
    kept = tables.transactions[customer < (customer.max() + 1) / (1 + place / 4)]
    return replace(tables, transactions=kept.reset_index(drop=True))


def _at_prices(config: RunConfig, members: int) -> RetailData:
    """Return receipts of customers who react to prices with known elasticities.

    They take the place of the tables that the configuration names, which are not read.
    """
    products = catalogue(_PRODUCTS + 1)
    names = [f"category {n % 3}" for n in range(_PRODUCTS)] + [""]
    drawn = [
        RetailerTables(name, _receipts(np.random.default_rng(derive_seed(config.seed, name))))
        for name in (f"retailer-{n}" for n in range(members))
    ]
    return RetailData("generated", tuple(drawn), products.assign(category=names))


def _receipts(rng: np.random.Generator) -> pd.DataFrame:
    """Return one retailer's receipts: visits by week, and what is bought at the week's prices."""
    customers, products = 60, _PRODUCTS
    price = np.round(2 * np.exp(rng.choice(_DISCOUNTS, (products, _WEEKS), p=[0.5, 0.3, 0.2])), 2)
    visits = rng.poisson(1.5, (customers, _WEEKS))
    liking = rng.gamma(1.0, 0.5, (customers, products, 1))
    elasticity = _ELASTICITIES[np.arange(products) % 3][:, None]
    units = rng.poisson(liking * visits[:, None] * (price / 2) ** elasticity)
    customer, product, weeks = np.nonzero(units)
    amount = units[customer, product, weeks].astype(np.float64)
    lines = _lines(customer, product, weeks, amount, amount * price[product, weeks])
    who, week = np.nonzero(visits)
    ones = np.ones(len(who))
    other = _lines(who, np.full(len(who), products), week, ones, ones)
    frame = pd.concat([lines, other], ignore_index=True)
    return frame.assign(basket=frame["customer"] * _WEEKS + frame["week"]).drop(columns="week")


def _lines(
    customer: npt.NDArray[np.int64],
    product: npt.NDArray[np.int64],
    week: npt.NDArray[np.int64],
    quantity: npt.NDArray[np.float64],
    value: npt.NDArray[np.float64],
) -> pd.DataFrame:
    time = FIRST_DAY + (7 * week).astype("timedelta64[D]")
    columns = {"customer": customer, "product": product, "week": week, "time": time}
    return pd.DataFrame({**columns, "quantity": quantity, "value": value, "discount": 0.0})
