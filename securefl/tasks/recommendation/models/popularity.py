"""What sold lately, summed over retailers: one number a product."""

from __future__ import annotations

from typing import ClassVar, Final

import torch
from torch import Tensor, nn

from securefl.ml.item_rows import Axis, Block
from securefl.tasks.common.histories import Histories

_FLOOR: Final = 0.1
"""Added to a product's share of sales, in units of the mean product's, before the logarithm."""


class Popularity(nn.Module):
    """Recent sales by product, up to a common factor.

    Args:
        products: Number of products I.
    """

    largest: ClassVar[float] = 4.0
    """A product that sells beyond that is far above the mean, and no less popular for the cap."""

    def __init__(self, products: int) -> None:
        super().__init__()
        self.sales = nn.Parameter(torch.zeros(products))

    def item_axes(self) -> dict[str, Axis]:
        """See `HasItemAxes`."""
        return {"sales": Axis(0, (Block.of_items(len(self.sales)),))}

    @torch.no_grad()
    def settle(self, histories: Histories, samples: int) -> None:
        """Set the sales to those of histories: the mean over samples, times the products.

        Weighted by samples, the mean over members is that of all their purchases. So scaled, the
        mean product has the mean weight of a purchase, whatever the size of the catalogue.
        """
        count = len(self.sales)
        summed = torch.zeros(count, dtype=torch.float64)
        summed.index_add_(0, histories.items.long(), histories.weights.double())
        mean = summed * (count / max(samples, 1))
        self.sales.copy_(mean.clamp(max=self.largest))

    def scores(self, customers: int) -> Tensor:
        """Return the logarithm of each product's share of the sales, float [B, I]."""
        unit = self.sales.mean().clamp(min=torch.finfo(self.sales.dtype).tiny)
        return (self.sales / unit + _FLOOR).log().expand(customers, -1)
