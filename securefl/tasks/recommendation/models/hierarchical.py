"""Matrix factorisation in three levels: what all share, what a retailer adds, what a customer adds.

After Wu et al. (2021), hierarchical personalized federated learning: the product vectors are the
trunk that all retailers train together; a layer of the retailer's own changes them for its shop;
and a customer has a vector of her own. Retailer layer and customer vectors never leave.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from securefl.tasks.common.settings import HierarchicalSettings
from securefl.tasks.recommendation.models.factorization import Factorization


class RetailerLayer(nn.Module):
    """What a retailer changes: how well a product sells there, and what likeness means there.

    It begins as no change at all.

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
        """Vectors of customers, float [B, dim], as they are compared with this shop's products."""
        changed: Tensor = customers + self.outer(self.inner(customers))
        return changed


class HierarchicalFactorization(Factorization):
    """`Factorization` with a retailer's own layer between customers and products.

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

    def customer_vectors(
        self, vectors: Tensor, customer: Tensor, items: Tensor, present: Tensor
    ) -> Tensor:
        """See `PurchaseModel.customer_vectors`; changed by the retailer's layer."""
        found: Tensor = self.retailer(super().customer_vectors(vectors, customer, items, present))
        return found

    def common(self, prior: Tensor) -> Tensor:
        """See `Factorization.common`; with the retailer's own bias."""
        return super().common(prior) + self.retailer.bias
