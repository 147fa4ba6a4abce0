"""How far what was bought stands above what was not: three losses for ranking."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from securefl.tasks.common.settings import RankingLoss


def ranking_losses(kind: RankingLoss, bought: Tensor, against: Tensor) -> Tensor:
    """The loss of each purchase, float [..., K].

    - `softmax`: negative log-likelihood among the products `against`, which are all products
      (Liang et al. 2018, eq. 2).
    - `sampled-softmax`: the same among the purchase itself and products drawn uniformly, whose
      correction is the same for every product and falls out (Bengio and Senecal 2008).
    - `bpr`: the mean over drawn products of `-log sigmoid(bought - drawn)` (Rendle et al. 2009,
      section 4.1).

    Args:
        kind: Which.
        bought: Scores of the purchases, [..., K].
        against: Scores of the products that they compete with, [..., N].
    """
    if kind == "bpr":
        return functional.softplus(against[..., None, :] - bought[..., :, None]).mean(dim=-1)
    normaliser = torch.logsumexp(against, dim=-1, keepdim=True)
    if kind == "softmax":
        return normaliser - bought
    return functional.softplus(normaliser - bought)


def sampled_products(customers: int, count: int, products: int, device: torch.device) -> Tensor:
    """Products drawn uniformly with replacement for each customer, int64 [B, count].

    What she bought is not left out: of thousands of products that is a small share, and leaving it
    out would make the draw depend on her.
    """
    return torch.randint(products, (customers, count), device=device)
