"""Receipts of retailers whose customers react to prices with elasticities that are known."""

import numpy as np
import pandas as pd

WEEKS, CUSTOMERS, PRODUCTS = 40, 60, 12
TRUE = {"tea": -2.5, "milk": -0.8, "soap": -1.6}
SUPPLIED = {"data": {"prices": "prices.csv", "period": ["2024-01-01", "2024-10-06"]}}
MONDAY = pd.Timestamp("2024-01-01")


def receipts(seed):
    """One retailer: every customer may buy every product in each of her weeks; prices vary."""
    rng = np.random.default_rng(seed)
    price = _prices(rng)
    elasticity = np.array(list(TRUE.values()))[np.arange(PRODUCTS) % 3]
    visits = rng.poisson(1.5, (CUSTOMERS, 1, WEEKS))
    liking = rng.gamma(1.0, 0.5, (CUSTOMERS, PRODUCTS, 1))
    units = rng.poisson(liking * visits * (price / 2) ** elasticity[:, None])
    customer, product, week = np.nonzero(units)
    amount = units[customer, product, week]
    trip = rng.integers(0, np.maximum(visits[customer, 0, week], 1))
    bought = _lines(customer, product, week, trip, amount, amount * price[product, week])
    customer, week = np.nonzero(visits[:, 0])
    customer, week = (np.repeat(part, visits[customer, 0, week]) for part in (customer, week))
    trip = np.arange(len(week)) - np.searchsorted(customer * WEEKS + week, customer * WEEKS + week)
    one = np.ones(len(week))
    return pd.concat([bought, _lines(customer, PRODUCTS, week, trip, one, one)])


def _prices(rng):
    discounts = rng.choice([0, -0.1, -0.3], (PRODUCTS, WEEKS), p=[0.5, 0.3, 0.2])
    return np.round(2 * np.exp(discounts), 2)


def shelf_prices(seed, name):
    """The prices of the same shop, as it tells them to everyone."""
    product, week = np.indices((PRODUCTS, WEEKS)).reshape(2, -1)
    price = _prices(np.random.default_rng(seed)).reshape(-1)
    days = MONDAY + pd.to_timedelta(7 * week, unit="D")
    return pd.DataFrame({"member": name, "product": product, "week": days, "price": price})


def _lines(customer, product, week, trip, quantity, value):
    """A visit is a day of its own; on every one something without a category is bought."""
    time = MONDAY + pd.to_timedelta(7 * week + trip % 7, unit="D")
    columns = {"product": product, "time": time, "quantity": quantity, "value": value}
    return pd.DataFrame({"customer": customer} | columns)


def planted_prices(folder):
    """Four retailers' files in a folder; the configuration of a pricing run on them.

    Shelf prices are in a file that only `SUPPLIED` names.
    """
    names = [*TRUE] * (PRODUCTS // 3)
    catalogue = pd.DataFrame({"product": range(PRODUCTS + 1), "category": [*names, ""]})
    catalogue.to_csv(folder / "catalogue.csv", index=False)
    members, prices = [], []
    for number, name in enumerate(("north", "south", "west", "east")):
        receipts(number).to_csv(folder / f"{name}.csv", index=False)
        members.append({"name": name, "transactions": f"{name}.csv"})
        prices.append(shelf_prices(number, name))
    pd.concat(prices).to_csv(folder / "prices.csv", index=False)
    return {
        "task": "pricing",
        "data": {
            "source": "files",
            "root": str(folder),
            "catalogue": "catalogue.csv",
            "catalogue_columns": {"category": "category"},
            "members": members,
            "rules": {"known_customers": ["0"]},
        },
        "model": {"influence": 30.0},
        "pricing": {"min_mean": 1.0},
        "engine": {"workers": 1},
    }
