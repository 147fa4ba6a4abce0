"""Matrix factorisation in three levels: shared, per retailer and per customer.

After Wu et al. (2021), hierarchical personalized federated learning: all retailers train the
product vectors together; a local layer adapts them to a retailer; and each customer has a vector.
Retailer layer and customer vectors never leave the retailer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from securefl.ml.item_rows import Axis
from securefl.tasks.common.settings import HierarchicalSettings
from securefl.tasks.recommendation.models.factorization import Factorization


class RetailerLayer(nn.Module):
    """A retailer's local layer: a bias per product, and a low-rank change of customer vectors.

    It is initialised to the identity.

    Args:
        products: Number of products I.
        dim: Length of a vector.
        rank: Rank of the change of the customers' vectors.
    """

    def __init__(self, products: int, dim: int, rank: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(products))
        self.inner = nn.Linear(dim, rank, bias=False)
        self.outer = nn.Linear(rank, dim, bias=False)
        nn.init.zeros_(self.outer.weight)

    def forward(self, customers: Tensor) -> Tensor:
        """Return the changed vectors of customers, float [B, dim]."""
        changed: Tensor = customers + self.outer(self.inner(customers))
        return changed


class HierarchicalFactorization(Factorization):
    """`Factorization` with a retailer's local layer between customers and products.

    Args:
        settings: Sizes and the loss.
        levels: See `PurchaseModel`.
        products: See `PurchaseModel`.
        customers: See `PurchaseModel`.
    """

    local_parameters: ClassVar[frozenset[str]] = frozenset({"customers", "retailer"})

    def __init__(
        self,
        settings: HierarchicalSettings,
        levels: Sequence[Tensor],
        products: int,
        customers: int,
    ) -> None:
        super().__init__(settings, levels, products, customers)
        self.retailer = RetailerLayer(products, settings.dim, settings.rank)

    def item_axes(self) -> dict[str, Axis]:
        """See `HasItemAxes`; with the retailer's bias."""
        found = super().item_axes()
        return found | {"retailer.bias": found["bias"]}

    def customer_vectors(
        self, vectors: Tensor, customer: Tensor, items: Tensor, present: Tensor
    ) -> Tensor:
        """See `PurchaseModel.customer_vectors`; changed by the retailer's layer."""
        found: Tensor = self.retailer(super().customer_vectors(vectors, customer, items, present))
        return found

    def common(self, prior: Tensor) -> Tensor:
        """See `Factorization.common`; with the retailer's local bias."""
        return super().common(prior) + self.retailer.bias
