"""What `profile` learns under a budget: a map between categories, or factors of products.

Decided by public numbers alone, so that every party decides the same before any data are read.
"""

from __future__ import annotations

import math
from typing import Final

from securefl.config.data import retailers
from securefl.config.schema import RunConfig
from securefl.privacy.plan import PrivacyPlan
from securefl.tasks.common.settings import ProfileSettings

_ENOUGH: Final = 50.0
"""Customers over the noise, in units of the root of the products, from which on factors are ahead:
on drawn purchases they were at 100, and nothing was tried below (recommendation-private.md)."""
_LEAST: Final = 5_000
"""Agreed customers of all retailers from which on they are taken, however few the products."""


def learns_products(config: RunConfig, products: int) -> bool:
    """Return whether factors of products are learned."""
    assert isinstance(config.model, ProfileSettings)
    if config.model.learns != "auto":
        return config.model.learns == "products"
    if agreed_customers(config) < _LEAST:
        return False
    return strength(config) >= _ENOUGH * math.sqrt(products)


def agreed_customers(config: RunConfig) -> float:
    """Return the customers of all retailers that the public constants stand for."""
    return retailers(config.data) * config.privacy.expected_batch / config.privacy.sampling_rate


def strength(config: RunConfig) -> float:
    """Return all agreed customers over the deviation of the noise of one release of the budget.

    The largest singular value of a matrix of noise grows with the root of the products, and that
    of the factors with the customers.
    """
    privacy, members = config.privacy, retailers(config.data)
    steps = config.rounds * privacy.steps
    # All steps together: their parts add up, and their noise as independent noise does.
    noise = PrivacyPlan.of(config).sigma(config.rounds) / (privacy.sampling_rate * math.sqrt(steps))
    # Each retailer's own noise adds up; shares of noise under masks come to that of one.
    return agreed_customers(config) / (
        noise * (math.sqrt(members) if privacy.dp == "local" else 1.0)
    )
