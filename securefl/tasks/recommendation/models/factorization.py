"""Factorisation models of purchases: product vectors are shared, customer vectors stay local.

A customer is the sum of their own vector, which never leaves the retailer, and of the vectors of
the products they bought, so that few customers per retailer suffice and a new one needs no training
(Koren 2008, asymmetric SVD). A product is the sum of its own vector and of those of its levels in
the public hierarchy, so that rarely sold products borrow from their category.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from securefl.ml.item_rows import Axis, Block
from securefl.tasks.common.settings import FactorizationSettings, HierarchicalSettings, NcfSettings
from securefl.tasks.recommendation.models.ranking_losses import ranking_losses, sampled_products


class ProductVectors(nn.Module):
    """Product vectors: one per product, plus one for each level of the hierarchy.

    Args:
        levels: Codes of the products on each level, int64 [I] each, public and agreed.
        products: Number of products I.
        dim: Length of a vector.
    """

    reads_whole_tables: ClassVar[bool] = True
    """Every customer's loss reads all rows, so that a layer cannot tell customers' gradients."""

    def __init__(self, levels: Sequence[Tensor], products: int, dim: int) -> None:
        super().__init__()
        self.own = nn.Embedding(products, dim)
        sizes = [int(codes.max()) + 1 for codes in levels]
        self.of_level = nn.ModuleList(nn.Embedding(size, dim) for size in sizes)
        self.codes: Tensor
        self.register_buffer("codes", torch.stack(tuple(levels)), persistent=False)
        for parameter in self.parameters():
            _initialise(parameter)

    def forward(self) -> Tensor:
        """Return all vectors, float [I, dim]."""
        vectors = self.own.weight
        for codes, embedding in zip(self.codes, self.of_level, strict=True):
            vectors = vectors + embedding(codes)
        return vectors

    def item_axes(self) -> dict[str, Axis]:
        """See `HasItemAxes`."""
        found = {"own.weight": Axis(0, (Block.of_items(len(self.own.weight)),))}
        for level, codes in enumerate(self.codes):
            found[f"of_level.{level}.weight"] = Axis(0, (Block.of(codes),))
        return found


@torch.no_grad()
def _initialise(parameter: Tensor) -> None:
    parameter.normal_(std=0.02)


class PurchaseModel(nn.Module, ABC):
    """Base of the factorisation models: customers, products and popularity.

    Args:
        settings: Sizes.
        levels: Codes of the products on each level of the hierarchy, int64 [I] each.
        products: Number of products I.
        customers: Number of customers at the party that holds the model.
    """

    local_parameters: ClassVar[frozenset[str]] = frozenset({"customers"})

    def __init__(
        self,
        settings: FactorizationSettings | HierarchicalSettings | NcfSettings,
        levels: Sequence[Tensor],
        products: int,
        customers: int,
    ) -> None:
        super().__init__()
        self.history_dropout = settings.history_dropout
        self.products = ProductVectors(levels, products, settings.dim)
        self.bias = nn.Parameter(torch.zeros(products))
        self.history_gain = nn.Parameter(torch.ones(()))
        self.customers = nn.Embedding(customers, settings.dim)
        _initialise(self.customers.weight)

    def item_axes(self) -> dict[str, Axis]:
        """See `HasItemAxes`."""
        own = {f"products.{name}": axis for name, axis in self.products.item_axes().items()}
        return own | {"bias": Axis(0, (Block.of_items(len(self.bias)),))}

    @abstractmethod
    def losses(self, customer: Tensor, items: Tensor, weights: Tensor, prior: Tensor) -> Tensor:
        """Return the negative log-likelihood of each customer's purchases, float [B].

        Args:
            customer: Rows of the customers, int64 [B].
            items: Products that each bought, int64 [B, K].
            weights: Weight of each purchase, float [B, K]; 0 is padding.
            prior: Fixed part of the scores, float [B, I].
        """

    @abstractmethod
    def scores(self, customer: Tensor, items: Tensor, present: Tensor, prior: Tensor) -> Tensor:
        """Return scores of all products, float [B, I]; `present` (float [B, K]) is 0 at padding."""

    def customer_vectors(
        self, vectors: Tensor, customer: Tensor, items: Tensor, present: Tensor
    ) -> Tensor:
        """Return the customers' own vectors plus their products' sum over its root count, [B, d].

        Dividing by the root, and not by the count, lets longer histories count more without
        letting their length dominate.
        """
        count = present.sum(dim=1, keepdim=True).clamp(min=1)
        kept = functional.dropout(present, self.history_dropout, self.training)
        history = self.history_sum(vectors, items, kept / count.sqrt())
        own: Tensor = self.customers(customer)
        return own + self.history_gain * history

    def history_sum(self, vectors: Tensor, items: Tensor, weights: Tensor) -> Tensor:
        """Return the weighted sums of the vectors of items int64 [B, K], float [B, d]."""
        if not items.numel():  # no customer, or none with a purchase
            return vectors.new_zeros(len(items), vectors.shape[1])
        return functional.embedding_bag(items, vectors, per_sample_weights=weights, mode="sum")


class DenseHistories(PurchaseModel):
    """Sums as matrix products with rows of weights, which `torch.vmap` can differentiate."""

    def history_sum(self, vectors: Tensor, items: Tensor, weights: Tensor) -> Tensor:
        """See `PurchaseModel.history_sum`."""
        rows = weights.new_zeros(len(items), len(vectors)).scatter_add(1, items, weights)
        return rows @ vectors


class Factorization(PurchaseModel):
    """Matrix factorisation, trained under a full softmax or on sampled products.

    Args:
        settings: Sizes and the loss.
        levels: See `PurchaseModel`.
        products: See `PurchaseModel`.
        customers: See `PurchaseModel`.
    """

    def __init__(
        self,
        settings: FactorizationSettings | HierarchicalSettings,
        levels: Sequence[Tensor],
        products: int,
        customers: int,
    ) -> None:
        super().__init__(settings, levels, products, customers)
        self.loss, self.negatives = settings.loss, settings.negatives

    def losses(self, customer: Tensor, items: Tensor, weights: Tensor, prior: Tensor) -> Tensor:
        """Return the weighted sum of `ranking_losses` of each customer's purchases, float [B]."""
        present = (weights > 0).to(weights.dtype)
        if self.loss == "softmax":
            against = self.scores(customer, items, present, prior)
            bought = against.gather(1, items)
        else:
            sampled = sampled_products(len(items), self.negatives, len(self.bias), items.device)
            candidates = torch.cat([items, sampled], dim=1)
            scores = self._chosen(customer, items, present, prior, candidates)
            count = items.shape[1]
            bought, against = scores[:, :count], scores[:, count:]
        return (weights * ranking_losses(self.loss, bought, against)).sum(dim=1)

    def scores(self, customer: Tensor, items: Tensor, present: Tensor, prior: Tensor) -> Tensor:
        """Return inner products with all product vectors, plus bias and prior, float [B, I]."""
        vectors = self.products()
        customers = self.customer_vectors(vectors, customer, items, present)
        return torch.addmm(self.common(prior), customers, vectors.T)

    def common(self, prior: Tensor) -> Tensor:
        """Return the part of the scores that does not depend on the customer, float [B, I]."""
        return self.bias + prior

    def _chosen(
        self, customer: Tensor, items: Tensor, present: Tensor, prior: Tensor, candidates: Tensor
    ) -> Tensor:
        """Return the scores of the given products alone, int64 [B, C]: float [B, C]."""
        vectors = self.products()
        customers = self.customer_vectors(vectors, customer, items, present)
        chosen = functional.embedding(candidates, vectors)
        inner = torch.einsum("bd,bcd->bc", customers, chosen)
        return inner + self.common(prior).gather(1, candidates)
