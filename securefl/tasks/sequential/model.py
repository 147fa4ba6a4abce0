"""Sequence model: next purchases from a customer's state after each basket.

A customer is the sum of all earlier purchases plus the state of a recurrent or self-attentive
encoder over their baskets, without a vector of their own: all parameters are shared, and a new
customer needs no training. Product vectors are sums over the levels of the public hierarchy:
learned ones or, where noise would dominate them, fixed public codes with small learned maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from securefl.ml.item_rows import Axis, Block
from securefl.tasks.recommendation.models.factorization import ProductVectors
from securefl.tasks.recommendation.models.ranking_losses import ranking_losses, sampled_products
from securefl.tasks.sequential.encoders import CausalAttention, Recurrent
from securefl.tasks.sequential.settings import AttentionSettings, GruSettings, SequenceSettings

_CODES: int = 174
"""Seed of the fixed codes, which must be identical at all members; therefore not a setting."""


class ProductCodes(nn.Module):
    """Fixed vectors: products of one kind, category or department share a component.

    A level's codes are independent normal vectors of length 1 on average, so that inner products
    count the levels that two products share (Johnson and Lindenstrauss 1984). They are public and
    not trained.

    Args:
        levels: Codes of the products on each level, int64 [I] each.
        dim: Length of a vector.
    """

    def __init__(self, levels: Sequence[Tensor], dim: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(_CODES)
        sizes = [int(codes.max()) + 1 for codes in levels]
        tables = [torch.randn(size, dim, generator=generator) / dim**0.5 for size in sizes]
        rows = torch.stack([table[codes] for table, codes in zip(tables, levels, strict=True)])
        self.vectors: Tensor
        self.register_buffer("vectors", rows.sum(dim=0) / len(sizes) ** 0.5, persistent=False)

    def forward(self) -> Tensor:
        """Return all vectors, float [I, dim]."""
        return self.vectors


@dataclass(frozen=True)
class Baskets:
    """Ordered purchases of some customers.

    Attributes:
        items: Products, int64 [B, K].
        present: Number of purchases that each represents, 0 at padding and where hidden, float
            [B, K].
        slots: Index of each purchase's basket among the newest `length`, int64 [B, K]; the newest
            is the last, and slot 0 also has everything older.
    """

    items: Tensor
    present: Tensor
    slots: Tensor

    @classmethod
    def of(cls, items: Tensor, present: Tensor, baskets: Tensor, length: int) -> Baskets:
        """Build them from basket numbers, int64 [B, K], ascending from each customer's oldest."""
        known = torch.where(present > 0, baskets, -1)
        newest = known.amax(dim=1, keepdim=True)
        return cls(items, present, (baskets - newest + length - 1).clamp(0, length - 1))

    def summed(self, values: Tensor, length: int) -> Tensor:
        """Return sums by basket, [B, length, d], of values [B, K, d]."""
        weighted = values * self.present[:, :, None]
        sums = weighted.new_zeros(len(values), length, values.shape[2])
        return sums.scatter_add(1, self.slots[:, :, None].expand_as(weighted), weighted)


class SequenceRanker(nn.Module):
    """Scores all products after each basket of a customer.

    Args:
        settings: Sizes and the encoder.
        levels: Codes of the products on each level of the hierarchy, int64 [I] each.
        products: Number of products I.
    """

    def __init__(self, settings: SequenceSettings, levels: Sequence[Tensor], products: int) -> None:
        super().__init__()
        self.settings, self.count = settings, products
        dim = settings.dim
        self.products: nn.Module = (
            ProductVectors(levels, products, dim)
            if settings.vectors == "learned"
            else ProductCodes(levels, dim)
        )
        self.popularity = nn.Linear(1, products, bias=False)
        self.recall = nn.Linear(dim, dim, bias=False)
        self.encoder = _encoder(settings)
        self.state = nn.Linear(dim, dim, bias=False)
        nn.init.zeros_(self.popularity.weight)
        with torch.no_grad():
            self.recall.weight.copy_(settings.recall * torch.eye(dim))
        if settings.vectors == "fixed":
            nn.init.zeros_(self.state.weight)

    def item_axes(self) -> dict[str, Axis]:
        """See `HasItemAxes`; fixed codes are no parameters."""
        found = {"popularity.weight": Axis(0, (Block.of_items(self.count),))}
        if isinstance(self.products, ProductVectors):
            own = self.products.item_axes()
            found |= {f"products.{name}": axis for name, axis in own.items()}
        return found

    def losses(
        self, items: Tensor, present: Tensor, weights: Tensor, baskets: Tensor, prior: Tensor
    ) -> Tensor:
        """Return the loss of new products in some baskets, given the baskets before, float [B].

        `positions` baskets are sampled per customer, by the weight of their new products and
        without replacement (Efraimidis and Spirakis 2006). The model predicts the new products of
        each, and of the `horizon - 1` baskets after it, from those before. All sampled baskets
        have the same weight, new products their own, and a customer the sum of their purchases.

        Args:
            items: Products that each bought, int64 [B, K].
            present: Number of purchases that each represents, float [B, K]; 0 is padding.
            weights: Weight of each purchase in the loss, float [B, K]; 0 at padding.
            baskets: Numbers of the baskets, int64 [B, K], ascending from the oldest.
            prior: Fixed part of the scores, float [B, I].
        """
        length = self.settings.length
        known = Baskets.of(items, present, baskets, length)
        vectors = self.products()
        customers = self._customers(vectors, known)
        chosen, targets = self._targets(known, weights)
        before = (chosen - 1).clamp(min=0)[:, :, None].expand(-1, -1, customers.shape[2])
        losses = self._purchase_losses(vectors, customers.gather(1, before), items, prior)
        by_basket = (targets * losses).sum(dim=2) / targets.sum(dim=2).clamp(min=1e-9)
        counted = (targets.sum(dim=2) > 0).to(weights.dtype)
        mean = (by_basket * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)
        return weights.sum(dim=1) * mean

    def common(self, customers: int) -> Tensor:
        """Return the part of the scores that all customers have in common, float [B, I]."""
        step = self.popularity.weight.new_full((customers, 1), self.settings.popularity_step)
        scores: Tensor = self.popularity(step)
        return scores

    def taste(self, items: Tensor, present: Tensor, baskets: Tensor) -> Tensor:
        """Return the scores' part that depends on the customer, after the last basket, [B, I]."""
        return torch.mm(self.customers(items, present, baskets), self.products().T)

    def customers(self, items: Tensor, present: Tensor, baskets: Tensor) -> Tensor:
        """Return each customer's representation after the last basket, [B, dim]."""
        known = Baskets.of(items, present, baskets, self.settings.length)
        return self._customers(self.products(), known)[:, -1]

    def _customers(self, vectors: Tensor, known: Baskets) -> Tensor:
        """Return each customer's representation after each basket, [B, length, dim]."""
        length = self.settings.length
        kept = functional.dropout(known.present, self.settings.history_dropout, self.training)
        shown = Baskets(known.items, kept, known.slots)
        sums = shown.summed(functional.embedding(known.items, vectors), length)
        counts = known.summed(torch.ones_like(known.present)[:, :, None], length)
        history = self._shortened(sums.cumsum(dim=1), counts.cumsum(dim=1))
        contents = self._shortened(sums, counts)
        states = self.encoder(contents, counts[:, :, 0] > 0)
        found: Tensor = self.recall(history) + self.state(states)
        return found

    def _shortened(self, sums: Tensor, counts: Tensor) -> Tensor:
        """Return sums of vectors over the roots of their counts; sums of fixed codes, of norm 1.

        Otherwise the clipped gradient of a frequent customer would mostly encode how much they buy.
        """
        if self.settings.vectors == "fixed":
            return functional.normalize(sums, dim=2)
        return sums / counts.clamp(min=1).sqrt()

    def _targets(self, known: Baskets, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return sampled slots, int64 [B, S], and weights of their new products, [B, S, K]."""
        length = self.settings.length
        by_slot = Baskets(known.items, weights, known.slots).summed(
            torch.ones_like(weights)[:, :, None], length
        )[:, :, 0]
        by_slot = by_slot * (by_slot.cumsum(dim=1) > by_slot)  # before the first, nothing is known
        # Keys log(u) / w: the largest S of them are a weighted sample without replacement.
        keys = torch.rand_like(by_slot).log() / by_slot.clamp(min=1e-9)
        keys = torch.where(by_slot > 0, keys, float("-inf"))
        chosen = keys.topk(min(self.settings.positions, length), dim=1).indices
        ahead = known.slots[:, None, :] - chosen[:, :, None]
        hit = (ahead >= 0) & (ahead < self.settings.horizon)
        return chosen, weights[:, None, :] * (hit & (by_slot.gather(1, chosen) > 0)[:, :, None])

    def _purchase_losses(
        self, vectors: Tensor, states: Tensor, items: Tensor, prior: Tensor
    ) -> Tensor:
        """Return the loss of each purchase after each of the states [B, S, dim], [B, S, K]."""
        known = self.common(len(items)) + prior
        if self.settings.loss == "softmax":
            scores = states @ vectors.T + known[:, None, :]
            bought = scores.gather(2, items[:, None, :].expand(-1, states.shape[1], -1))
            return ranking_losses("softmax", bought, scores)
        sampled = sampled_products(len(items), self.settings.negatives, len(vectors), items.device)
        candidates = torch.cat([items, sampled], dim=1)
        chosen = functional.embedding(candidates, vectors)
        scores = states @ chosen.mT + known.gather(1, candidates)[:, None, :]
        count = items.shape[1]
        return ranking_losses(self.settings.loss, scores[:, :, :count], scores[:, :, count:])


def _encoder(settings: SequenceSettings) -> nn.Module:
    if isinstance(settings, GruSettings):
        return Recurrent(settings.dim, settings.hidden)
    assert isinstance(settings, AttentionSettings)
    return CausalAttention(settings.dim, settings.hidden, settings.heads)
