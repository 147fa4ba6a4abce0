"""Sums of many pieces in float64, whose error grows with their number and not with its square.

A plain sum of n units errs by up to n^2 T u times their bound (`noise/grid.py`). Which sums can be
released must not depend on how many customers a member has, so large batches are not refused:
their pieces are added with the rounding error of each addition kept beside the total.
"""

from __future__ import annotations

import torch
from torch import Tensor


class CarriedSum:
    """A sum of tensors, and the rounding errors of its additions (Knuth's TwoSum; Neumaier 1974).

    Adding P terms errs by at most 2 u |sum| + (P u)^2 times the sum of the terms' absolute values
    (Higham 2002, section 4.3), so that what remains are the errors within the terms.

    Args:
        size: Number of coordinates.
    """

    def __init__(self, size: int) -> None:
        self._total = torch.zeros(size, dtype=torch.float64)
        self._errors = torch.zeros(size, dtype=torch.float64)

    def add(self, term: Tensor) -> None:
        """Add one tensor, float64 [size]; it is not kept."""
        total = self._total + term
        virtual = total - self._total
        self._errors += (self._total - (total - virtual)) + (term - virtual)
        self._total = total

    def value(self) -> Tensor:
        """Return the sum, float64 [size]."""
        return self._total + self._errors
