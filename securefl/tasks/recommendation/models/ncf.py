"""Neural collaborative filtering of purchases, and the tutorial's classifier of ratings."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from securefl.tasks.common.settings import NcfSettings
from securefl.tasks.recommendation.models.factorization import PurchaseModel
from securefl.tasks.recommendation.models.ranking_losses import ranking_losses, sampled_products
from securefl.tasks.recommendation.settings import RatingNcfSettings


class NcfRanker(PurchaseModel):
    """NeuMF (He et al. 2017): an inner product beside a hidden layer, under a sampled softmax.

    The hidden layer takes customer and product vectors, concatenated. Its weight is stored in two
    halves, so that all pairs of B customers and I products cost one addition each, and not one
    matrix product each.
    """

    def __init__(
        self, settings: NcfSettings, levels: Sequence[Tensor], products: int, customers: int
    ) -> None:
        super().__init__(settings, levels, products, customers)
        self.positives, self.negatives = settings.positives, settings.negatives
        self.of_customer = nn.Linear(settings.dim, settings.hidden)
        self.of_product = nn.Linear(settings.dim, settings.hidden, bias=False)
        self.dropout = nn.Dropout(settings.dropout)
        self.out = nn.Linear(settings.hidden, 1, bias=False)

    def losses(self, customer: Tensor, items: Tensor, weights: Tensor, prior: Tensor) -> Tensor:
        """Return the sampled softmax loss, times the customer's weight, float [B].

        Purchases are sampled by weight with replacement, their negatives uniformly, independently
        for each customer.
        """
        vectors = self.products()
        present = (weights > 0).to(weights.dtype)
        customers = self.customer_vectors(vectors, customer, items, present)
        sampled = torch.multinomial(weights, self.positives, replacement=True)
        bought = items.gather(1, sampled)
        others = sampled_products(len(items), self.negatives, len(vectors), items.device)
        scores = self._pairs(vectors, customers, torch.cat([bought, others], dim=1), prior)
        positive, negative = scores[:, : self.positives], scores[:, self.positives :]
        losses = ranking_losses("sampled-softmax", positive, negative)
        return weights.sum(dim=1) * losses.mean(dim=1)

    def scores(self, customer: Tensor, items: Tensor, present: Tensor, prior: Tensor) -> Tensor:
        """Return scores of all products, float [B, I], customer by customer to bound memory."""
        vectors = self.products()
        customers = self.customer_vectors(vectors, customer, items, present)
        hidden, weight = self.of_product(vectors), self.out.weight[0]
        deep = [torch.relu(hidden + row) @ weight for row in self.of_customer(customers)]
        return torch.addmm(self.bias + prior, customers, vectors.T) + torch.stack(deep)

    def _pairs(self, vectors: Tensor, customers: Tensor, items: Tensor, prior: Tensor) -> Tensor:
        """Return scores of the given products, int64 [B, C], for each customer, float [B, C]."""
        chosen = functional.embedding(items, vectors)
        shallow = torch.einsum("bd,bcd->bc", customers, chosen)
        hidden = torch.relu(self.of_customer(customers)[:, None, :] + self.of_product(chosen))
        deep: Tensor = self.out(self.dropout(hidden)).squeeze(-1)
        return shallow + deep + self.bias[items] + prior.gather(1, items)


class RatingNcf(nn.Module):
    """The tutorial's classifier: embeddings of customer and product into an MLP over classes.

    All parameters are shared, as in the tutorial, customer vectors included: the baseline shows
    what a federation must avoid. Row u is customer u of every retailer.

    Args:
        settings: Sizes.
        customers: Rows of the customer table.
        products: Rows of the product table.
    """

    def __init__(self, settings: RatingNcfSettings, customers: int, products: int) -> None:
        super().__init__()
        self.customers = nn.Embedding(customers, settings.dim)
        self.products = nn.Embedding(products, settings.dim)
        sizes = (2 * settings.dim, settings.hidden, settings.hidden // 2)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(settings.dropout)]
        self.classify = nn.Sequential(*layers, nn.Linear(sizes[-1], settings.classes))

    def forward(self, customer: Tensor, product: Tensor) -> Tensor:
        """Return logits over the classes, float [..., classes], of pairs of int64 [...]."""
        pair = torch.cat([self.customers(customer), self.products(product)], dim=-1)
        logits: Tensor = self.classify(pair)
        return logits
