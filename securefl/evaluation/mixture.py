"""How much of the shared model a retailer serves beside its own, chosen on its own validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

SHARES: Final = tuple(share / 10 for share in range(11))
"""How much of the shared model may be in what is served; 0 is first and wins a tie."""


def best_share(error: Callable[[float], float]) -> float:
    """The share with the least error; 0 where none is better than the retailer's own model."""
    return min(SHARES, key=error)
