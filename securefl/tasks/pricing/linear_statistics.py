"""Sums over privacy units as the parameters of a loss that is linear in them."""

from __future__ import annotations

from torch import Tensor, nn


class UnitSums(nn.Module):
    """D sums over units.

    The gradient of a unit is minus its statistics. So one step of gradient descent from 0 at
    learning rate 1 on all units gives their mean, secure aggregation sums it exactly, and clipping
    and noise make it private, as with any other gradient.

    Args:
        size: Number of sums D.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.sums = nn.Linear(size, 1, bias=False)
        nn.init.zeros_(self.sums.weight)

    def losses(self, statistics: Tensor) -> Tensor:
        """Return minus each unit's statistics (float [B, D]) times the sums, float [B]."""
        found: Tensor = self.sums(statistics.to(self.sums.weight.dtype))
        return -found.squeeze(1)

    @property
    def values(self) -> Tensor:
        """The sums, up to a public factor, float32 [D]."""
        return self.sums.weight.detach()[0]


def unit_sums(model: nn.Module) -> UnitSums:
    """Return the model as sums over units.

    Raises:
        TypeError: If it is of another class.
    """
    if not isinstance(model, UnitSums):
        raise TypeError(f"{type(model).__name__} has no sums over units")
    return model
