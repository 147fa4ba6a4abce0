"""What a line of a receipt may say it cost: each line is bounded by itself, before any sum."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_MOST_PAID: Final = 1e9
"""Largest amount of a line that counts; a public constant beyond any receipt."""


def bounded_amounts(amounts: Floats) -> Floats:
    """Return what counts of the amount of each line, float64 [L] in 0..10^9; 0 if no number.

    So that sums of amounts, and whatever is computed of them, stay finite whatever one customer
    paid.
    """
    return np.clip(np.nan_to_num(amounts, nan=0.0, posinf=_MOST_PAID), 0.0, _MOST_PAID)
