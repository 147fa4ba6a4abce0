"""Side features of a customer other than purchases: profile and events.

An agreed vocabulary of words defines both. Unknown values are 0, so that members with and without
profiles train the same model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from securefl.data.schema import PLAIN_EVENT
from securefl.data.tables import RetailData
from securefl.errors import ConfigError, DataError
from securefl.tasks.churn.rfm_features import WEEK, Floats, Ints, scaled

EVENT_WEEKS: Final = 8
"""Weeks before the observation date in which events are counted."""

_EVENTS: Final = 50.0
_WEEKS: Final = 52.0


def profile_pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    """Return attribute and level of each word `attribute=level`.

    Raises:
        ConfigError: If a word has another form.
    """
    for word in words:
        if "=" not in word:
            raise ConfigError(f"churn.profile: '{word}' is no attribute=level")
    parts = [word.partition("=") for word in words]
    return [(attribute, level) for attribute, _, level in parts]


def check_profiles(words: Sequence[str], data: RetailData) -> None:
    """Refuse an attribute that no retailer has: a typing error would be a column of zeros.

    Raises:
        ConfigError: If a word is malformed.
        DataError: If no retailer has such an attribute.
    """
    if data.made_up:
        return  # the agreed days and catalogue say nothing of profiles
    known = {str(c) for m in data.members if m.profiles is not None for c in m.profiles.columns}
    for attribute, _ in profile_pairs(words):
        if attribute not in known:
            raise DataError(f"{data.source}: no retailer's profiles have a column '{attribute}'")


def profile_features(
    profiles: pd.DataFrame | None, words: Sequence[str], customers: Ints
) -> Floats:
    """Return 1 where a customer has the level of a word, else 0, float64 [n, W]."""
    found = np.zeros((len(customers), len(words)))
    if profiles is None or not words:
        return found
    for column, (attribute, level) in enumerate(profile_pairs(words)):
        if attribute in profiles:
            # Before rows are aligned: a customer without a profile would turn integers to floats.
            texts = profiles.set_index("customer")[attribute].map(_text).reindex(customers)
            found[:, column] = texts == level
    return found


def _text(value: object) -> str:
    """Return a value as text, the same whatever other customers have: 2 for 2, 2.0 and "2".

    One missing value makes floats of a whole column of integers.
    """
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def event_products(words: Sequence[str], data: RetailData) -> tuple[Ints, ...]:
    """Return the products that each word `event` or `event:name` names, int64, ascending.

    The name is a department or category of the catalogue; without a name, the array is empty and
    every event counts.

    Raises:
        DataError: If the catalogue has no such department or category.
    """
    found = []
    for word in words:
        _, _, name = word.partition(":")
        filed = (data.products["department"] == name) | (data.products["category"] == name)
        if name and not filed.any():
            raise DataError(f"{data.source}: the catalogue has no department or category '{name}'")
        products = data.products["product"].to_numpy(np.int64)
        found.append(np.sort(products[filed.to_numpy() & bool(name)]))
    return tuple(found)


def event_features(
    browsing: pd.DataFrame | None,
    words: Sequence[str],
    products: Sequence[Ints],
    customers: Ints,
    moment: int,
) -> Floats:
    """Return the recent count of each word's events and the last one's recency, [n, 2 W].

    Args:
        browsing: As in `RetailerTables`.
        words: The agreed words.
        products: Result of `event_products`.
        customers: Customers, int64 [n], ascending.
        moment: Observation date in ns since 1970; later events are not used.
    """
    found = np.zeros((len(customers), 2 * len(words)))
    if browsing is None or not words:
        return found
    time = browsing["time"].to_numpy("datetime64[ns]").astype(np.int64)
    past = browsing[(time < moment) & browsing["customer"].isin(customers)]
    kind = past["event"] if "event" in past else pd.Series(PLAIN_EVENT, index=past.index)
    row = np.searchsorted(customers, past["customer"].to_numpy(np.int64))
    age = (moment - past["time"].to_numpy("datetime64[ns]").astype(np.int64)) / WEEK
    for number, (word, meant) in enumerate(zip(words, products, strict=True)):
        chosen = (kind == word.partition(":")[0]).to_numpy()
        if len(meant):
            chosen = chosen & past["product"].isin(meant).to_numpy()
        figures = _count_and_nearness(row[chosen], age[chosen], len(customers))
        found[:, 2 * number : 2 * number + 2] = figures
    return found


def _count_and_nearness(row: Ints, age: Floats, customers: int) -> Floats:
    """Return count and recency, float64 [n, 2]; both 0 for a customer without such an event."""
    count = np.bincount(row, age <= EVENT_WEEKS, minlength=customers).astype(np.float64)
    last = np.full(customers, _WEEKS)
    np.minimum.at(last, row, age)
    return np.stack([scaled(count, _EVENTS), 1 - scaled(last, _WEEKS)], axis=1)
