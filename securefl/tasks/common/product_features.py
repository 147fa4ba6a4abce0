"""Product features from the agreed catalogue, as codes: hierarchy, brand, size and price band.

All of it is public: printed on the package or displayed in the shop. Bands have fixed edges, so
that no feature is scaled by private data.
"""

from __future__ import annotations

import math
import re
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from securefl.data.tables import RetailData
from securefl.tasks.common.ranking_examples import known_lines

FEATURES: Final = ("department", "category", "kind", "brand", "size", "price")

_OUNCES: Final = {
    "OZ": 1.0,
    "OZS": 1.0,
    "FL": 1.0,
    "LB": 16.0,
    "ML": 0.0338,
    "L": 33.8,
    "PT": 16.0,
    "QT": 32.0,
    "GA": 128.0,
    "GAL": 128.0,
    "G": 0.0353,
    "GM": 0.0353,
}
"""Weight and volume in ounces; a fluid ounce of most groceries weighs about one."""
_COUNTS: Final = {"CT": 1.0, "PK": 1.0, "PC": 1.0, "DZ": 12.0, "ROLL": 1.0, "LOADS": 1.0}
_SIZE: Final = re.compile(
    r"(?:(?P<whole>\d+) )?(?:(?P<first>\d+(?:\.\d+)?|\.\d+) ?/ ?)?"
    r"(?P<last>\d+(?:\.\d+)?|\.\d+)[ -]*(?P<unit>[A-Z]+)"
)
_DIVISORS: Final = (2.0, 3.0, 4.0, 8.0)
_PRICES: Final = np.array([0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0, 15.0])
"""Edges of the price bands, in the currency of the tables."""


def product_features(data: RetailData, products: npt.NDArray[np.int64]) -> tuple[Tensor, ...]:
    """Return codes of the products in each of `FEATURES`, int64 [I] each.

    Args:
        data: The tables; of the transactions only shelf prices are read.
        products: Product ids, int64 [I], ascending.
    """
    catalogue = data.products.set_index("product").reindex(products)
    words = [catalogue[level].fillna("") for level in FEATURES[:4]]
    sizes = catalogue["size"].fillna("").map(size_band)
    return tuple(_codes(column) for column in [*words, sizes, price_bands(data, products)])


def size_band(text: str) -> str:
    """Return the band, a factor of two wide, of a size such as `10.5 OZ`, `6/12 OZ`, `1 1/2 LB`.

    `a/b` is a fraction if it is below 1 and b is 2, 3, 4 or 8; otherwise `6/12 OZ` is six packages
    of twelve ounces. Text without an amount in a known unit is the band `other`, or empty.
    """
    found = _SIZE.match(text.strip().upper())
    if found is None:
        return "" if not text.strip() else "other"
    unit, amount = found["unit"], _amount(found)
    for name, factors in (("oz", _OUNCES), ("count", _COUNTS)):
        if unit in factors and amount > 0:
            return f"{name} {math.floor(math.log2(amount * factors[unit]))}"
    return "other"


def _amount(found: re.Match[str]) -> float:
    last, whole = float(found["last"]), float(found["whole"] or 0)
    if found["first"] is None:
        return whole * last if whole else last
    first = float(found["first"])
    if last in _DIVISORS and first < last:
        return whole + first / last
    return first * last


def price_bands(data: RetailData, products: npt.NDArray[np.int64]) -> pd.Series:
    """Return bands of the products' shelf prices, as text [I]; empty without any sale.

    The shelf price is the price of a unit before discounts, which is displayed in the shop and
    known to competitors. In a table of transactions it is (value + discount) / quantity; the
    median over all members' lines is used.
    """
    lines = pd.concat([known_lines(member.transactions) for member in data.members])
    price = (lines["value"] + lines["discount"]) / lines["quantity"]
    median = price.groupby(lines["product"]).median().reindex(products)
    band = pd.Series(np.searchsorted(_PRICES, median.to_numpy()), index=median.index)
    return band.astype(str).where(median.notna(), "")


def _codes(names: pd.Series) -> Tensor:
    codes = np.unique(names.to_numpy(str), return_inverse=True)[1]
    return torch.from_numpy(codes.astype(np.int64))
