"""What members agree on before prices are learned from, and the shops' own price lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pandas as pd

from securefl.errors import ConfigError
from securefl.tasks.demand.series import Days, Vocabulary


@dataclass(frozen=True)
class PricingFacts:
    """What all members agree on; none of it is a price.

    Attributes:
        weeks: First days of all weeks, datetime64[D] [T].
        words: The categories.
        members: Number of members.
    """

    format_name: ClassVar[str] = "PricingFacts"
    weeks: Days
    words: Vocabulary
    members: int


@dataclass(frozen=True)
class PricedFacts(PricingFacts):
    """The same with the shops' own price lists, which everyone can read off their shelves.

    Attributes:
        prices: As in `RetailData.prices`.
    """

    format_name: ClassVar[str] = "PricedFacts"
    prices: pd.DataFrame


def check_prices(*, supplied: bool) -> None:
    """Refuse prices off receipts where customers are to be hidden.

    Which price a median is, and which product has one at all, depends on who bought.

    Args:
        supplied: Whether the shops' own lists are agreed, or no customer is to be hidden.

    Raises:
        ConfigError: If not.
    """
    if not supplied:
        raise ConfigError(
            "privacy.dp: pricing needs the shops' own price lists (data.prices), for prices"
            " read off receipts depend on the customers that are to be hidden"
        )
