"""Small generated files of retailers that sell from one catalogue, for trials of a consortium."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from securefl.errors import InputError
from securefl.untrusted.files import taken

CATALOGUE, SALES = "catalogue.csv", "sales.csv"
_PRODUCTS, _CUSTOMERS = 160, 40
_BASKETS_A_DAY, _LINES = 4, 4


def write_example(
    folder: Path, names: tuple[str, ...], first: date, days: int, seed: int
) -> tuple[Path, ...]:
    """Write the agreed catalogue, and for each retailer a folder with its own copy and its sales.

    Args:
        folder: Where the catalogue and the retailers' folders are written.
        names: The retailers.
        first: First day of the sales.
        days: Number of days.
        seed: Of all random draws; the catalogue does not depend on it.

    Returns:
        The retailers' folders.

    Raises:
        InputError: If one of the files exists; then none is written.
    """
    places = tuple(folder / name for name in names)
    shared = folder / CATALOGUE
    for path in [shared, *(place / name for place in places for name in (CATALOGUE, SALES))]:
        if taken(path):
            raise InputError(f"{path} exists; it was not touched")
    products = _catalogue()
    folder.mkdir(parents=True, exist_ok=True)
    products.to_csv(shared, index=False)
    for number, place in enumerate(places):
        place.mkdir(parents=True, exist_ok=True)
        products.to_csv(place / CATALOGUE, index=False)
        rng = np.random.default_rng([seed, number])
        _sales(rng, first, days).to_csv(place / SALES, index=False)
    return places


def _catalogue() -> pd.DataFrame:
    number = np.arange(_PRODUCTS)
    return pd.DataFrame(
        {
            "product": 100 + number,
            "department": [f"department {n % 3}" for n in number],
            "category": [f"category {n % 8}" for n in number],
        }
    )


def _sales(rng: np.random.Generator, first: date, days: int) -> pd.DataFrame:
    """Return lines in the order of time; some products sell far more than others."""
    baskets = np.repeat(np.arange(days * _BASKETS_A_DAY), _LINES)
    hours = baskets * (24 // _BASKETS_A_DAY)
    popular = (_PRODUCTS * rng.power(0.7, baskets.size)).astype(int)
    buyers = rng.integers(0, _CUSTOMERS, days * _BASKETS_A_DAY)
    return pd.DataFrame(
        {
            "customer": [f"card {n}" for n in buyers[baskets]],
            "product": 100 + popular,
            "time": pd.Timestamp(first) + pd.to_timedelta(hours, unit="h"),
            "quantity": rng.integers(1, 4, baskets.size),
            "value": 2.5,
            "basket": baskets,
        }
    )
