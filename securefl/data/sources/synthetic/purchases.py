"""Synthetic purchases: customers with a taste for departments, categories, kinds and products.

The tutorial rates items of no kind. A recommender that learns what customers buy together, and a
private one above all, needs purchases in a hierarchy; the latent factors are the tutorial's idea.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from securefl.config.data import TutorialSettings
from securefl.data.schema import LEVELS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BASKET: Final = 3
"""Products a basket."""

_FACTORS: Final = 10
_CHILDREN: Final = 4
"""Products a kind, kinds a category, categories a department."""

_SPREADS: Final = (0.9, 0.9, 0.6, 0.6)
"""Standard deviations of taste for department, category, kind and the product itself."""

_POPULARITY: Final = 1.0
_LOCAL_POPULARITY: Final = 0.3
_CHUNK: Final = 8192


@dataclass(frozen=True)
class Baskets:
    """A retailer's lines as parallel arrays [L], by customer and in the order of purchase.

    Attributes:
        customer: Number of the customer, int64.
        product: Product, int64; a customer buys none twice.
        ordinal: Number of the line among the customer's, int64.
    """

    customer: Ints
    product: Ints
    ordinal: Ints


def level_codes(items: int) -> tuple[Ints, Ints, Ints]:
    """Return department, category and kind of each product, int64 [I] each."""
    product = np.arange(items)
    kind = product // _CHILDREN
    category = kind // _CHILDREN
    return category // _CHILDREN, category, kind


def catalogue(items: int) -> pd.DataFrame:
    """Return the products with their levels, as the schema wants them."""
    frame = pd.DataFrame({"product": np.arange(items, dtype=np.int64)})
    codes = dict(zip(LEVELS, level_codes(items), strict=False))
    for level in LEVELS:
        names = [f"{level} {code}" for code in codes[level]] if level in codes else [""] * items
        frame[level] = pd.Series(names, index=frame.index, dtype="str")
    return frame


def draw_baskets(
    settings: TutorialSettings, items: np.random.Generator, own: np.random.Generator
) -> Baskets:
    """One retailer's purchases.

    A customer draws as many different products as she has lines, each with a chance in proportion
    to `exp(popularity + taste . factors)` among those that are left (the Gumbel-max way: the
    largest sums of logit and Gumbel noise).

    Args:
        settings: Numbers of customers, products and lines.
        items: Draws factors and popularity of the products.
        own: Draws the retailer's customers and its own deviations.
    """
    factors = _factors(settings.items, items)
    popularity = _POPULARITY * items.standard_normal(settings.items)
    popularity += _LOCAL_POPULARITY * own.standard_normal(settings.items)
    lines = own.integers(*settings.lines, endpoint=True, size=settings.customers)
    products = []
    for start in range(0, settings.customers, _CHUNK):
        count = lines[start : start + _CHUNK, None]
        taste = own.standard_normal((len(count), _FACTORS), dtype=np.float32)
        waits = own.standard_exponential((len(count), settings.items), dtype=np.float32)
        noise = -np.log(np.maximum(waits, np.finfo(np.float32).tiny))
        ranked = np.argsort(-(popularity + taste @ factors.T + noise), axis=1)
        products.append(ranked[np.arange(settings.items) < count])
    customer = np.repeat(np.arange(settings.customers), lines)
    # The likeliest products of a customer come first so far; the order of purchase is drawn.
    shuffled = np.lexsort((own.random(len(customer), dtype=np.float32), customer))
    return Baskets(customer, np.concatenate(products)[shuffled], _ordinals(lines))


def _factors(items: int, generator: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return what the products have to do with each direction of taste, float32 [I, 10]."""
    parts = [
        spread * generator.standard_normal((int(codes.max()) + 1, _FACTORS))[codes]
        for spread, codes in zip(_SPREADS, (*level_codes(items), np.arange(items)), strict=True)
    ]
    scaled: npt.NDArray[np.float32] = (sum(parts) / np.sqrt(_FACTORS)).astype(np.float32)
    return scaled


def _ordinals(lines: Ints) -> Ints:
    """Return 0, 1, ... for each customer's lines, int64 [L]."""
    starts = np.cumsum(lines) - lines
    ordinals: Ints = np.arange(lines.sum()) - np.repeat(starts, lines)
    return ordinals
