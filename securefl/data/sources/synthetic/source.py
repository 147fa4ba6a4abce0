"""Synthetic data: the tutorial's ratings and demand, and purchases, from a generator of our own.

By default item factors and base demands are drawn anew for every retailer, as in the tutorial: what
one retailer learns of an item then says nothing about the item of that number at another, and there
is nothing to learn together but the population's constants. `shared_items` gives all retailers the
same items.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from securefl.config.data import TutorialSettings
from securefl.data.schema import ANONYMOUS, LEVELS
from securefl.data.sources.synthetic.purchases import BASKET, catalogue, draw_baskets
from securefl.data.tables import RetailData, RetailerTables

SOURCE: Final = "tutorial"
RATING_CLASSES: Final = 5

FIRST_DAY: Final = np.datetime64("2017-01-02", "ns")
"""Day 0: a Monday, so that the tutorial's `day % 7 >= 5` is the weekend."""

_FACTORS: Final = 10
_SHARED: Final = 0
_TABLES: Final = {"ratings": 0, "demand": 1, "purchases": 2}
_YEAR: Final = 365

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def load(settings: TutorialSettings) -> RetailData:
    """Draw the table that the settings name; equal settings give equal tables."""
    table = {"ratings": _ratings, "demand": _demand, "purchases": _purchases}[settings.table]
    return RetailData(
        source=SOURCE,
        members=tuple(
            RetailerTables(name=f"retailer-{number}", transactions=table(settings, number))
            for number in range(settings.retailers)
        ),
        products=_catalogue(settings),
    )


def _generator(settings: TutorialSettings, stream: int) -> np.random.Generator:
    """Return a generator of its own for stream 0 (what is shared) and 1 + retailer."""
    key = (_TABLES[settings.table], stream)
    return np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=key))


def _item_generator(settings: TutorialSettings, own: np.random.Generator) -> np.random.Generator:
    return _generator(settings, _SHARED) if settings.shared_items else own


def _ratings(settings: TutorialSettings, retailer: int) -> pd.DataFrame:
    """One row a rating: latent factors of dimension 10, popularity and activity of a power law."""
    rng = _generator(settings, 1 + retailer)
    users = rng.standard_normal((settings.customers, _FACTORS))
    items = _item_generator(settings, rng).standard_normal((settings.items, _FACTORS))
    popularity = _normalised(rng.power(0.3, settings.items))
    activity = _normalised(rng.power(0.5, settings.customers))
    count = int(rng.integers(*settings.interactions, endpoint=True))
    user = rng.choice(settings.customers, size=count, p=activity)
    item = rng.choice(settings.items, size=count, p=popularity)
    score = np.einsum("nk,nk->n", users[user], items[item]) + 0.1 * retailer
    return _transactions(
        customer=user,
        product=item,
        time=FIRST_DAY + np.arange(count) * np.timedelta64(1, "m"),
        quantity=np.ones(count),
    ).assign(rating=_rating(score))


def _normalised(weights: Floats) -> Floats:
    shares: Floats = weights / weights.sum()
    return shares


def _rating(score: Floats) -> Ints:
    """Class 0 to 4 of a score: halved, moved to 3, clipped to [1, 5], cut to an integer."""
    return np.clip(score * 0.5 + 3, 1, RATING_CLASSES).astype(np.int64) - 1


def _demand(settings: TutorialSettings, retailer: int) -> pd.DataFrame:
    """One row a product and day with demand; the day without demand has no row."""
    rng = _generator(settings, 1 + retailer)
    base = _item_generator(settings, rng).integers(10, 100, settings.products)
    shape = (settings.days, settings.products)
    noise = rng.integers(-5, 6, shape)
    expected = base * _season(np.arange(settings.days))[:, None] * (1 + 0.1 * retailer)
    demand = np.maximum(expected.astype(np.int64) + noise, 0)
    day, product = np.nonzero(demand)
    return _transactions(
        customer=np.full(day.size, ANONYMOUS),
        product=product,
        time=FIRST_DAY + day * np.timedelta64(1, "D"),
        quantity=demand[day, product].astype(np.float64),
    )


def _season(day: Ints) -> Floats:
    """Return float64 [days]: weekend, yearly wave and trend as one factor."""
    weekend = np.where(day % 7 >= 5, 1.2, 1.0)
    year = 1 + 0.3 * np.sin(2 * np.pi * day / 365)
    factor: Floats = weekend * year * (1 + 0.0001 * day)
    return factor


def _transactions(
    *, customer: Ints, product: Ints, time: npt.NDArray[np.datetime64], quantity: Floats
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "customer": customer.astype(np.int64),
            "product": product.astype(np.int64),
            "basket": np.arange(len(customer), dtype=np.int64),
            "time": time,
            "quantity": quantity,
            "value": 0.0,
            "discount": 0.0,
        }
    )


def _purchases(settings: TutorialSettings, retailer: int) -> pd.DataFrame:
    """One row a customer and product; a basket a day, the customers' days spread over a year."""
    rng = _generator(settings, 1 + retailer)
    drawn = draw_baskets(settings, _item_generator(settings, rng), rng)
    visit = drawn.ordinal // BASKET
    day = visit * _YEAR // (settings.lines[1] // BASKET + 1) + drawn.customer % 7
    sales = _transactions(
        customer=drawn.customer,
        product=drawn.product,
        time=FIRST_DAY + day * np.timedelta64(1, "D"),
        quantity=np.ones(len(day)),
    )
    return sales.assign(basket=visit)


def _catalogue(settings: TutorialSettings) -> pd.DataFrame:
    """Return the products; only purchases have a hierarchy."""
    if settings.table == "purchases":
        return catalogue(settings.items)
    size = settings.items if settings.table == "ratings" else settings.products
    frame = pd.DataFrame({"product": np.arange(size, dtype=np.int64)})
    for level in LEVELS:
        frame[level] = pd.Series("", index=frame.index, dtype="str")
    return frame
