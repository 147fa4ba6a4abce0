"""Three ranking losses of purchases against other products."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from securefl.tasks.common.settings import RankingLoss


def ranking_losses(kind: RankingLoss, bought: Tensor, against: Tensor) -> Tensor:
    """Return the loss of each purchase, float [..., K].

    - `softmax`: negative log-likelihood among the products `against`, which are all products
      (Liang et al. 2018, eq. 2).
    - `sampled-softmax`: the same among the purchase itself and uniformly sampled products, whose
      correction is the same for every product and cancels (Bengio and Senecal 2008).
    - `bpr`: the mean over sampled products of `-log sigmoid(bought - sampled)` (Rendle et al. 2009,
      section 4.1).

    Args:
        kind: Name of the loss.
        bought: Scores of the purchases, [..., K].
        against: Scores of their negatives, [..., N].
    """
    if kind == "bpr":
        return functional.softplus(against[..., None, :] - bought[..., :, None]).mean(dim=-1)
    normaliser = torch.logsumexp(against, dim=-1, keepdim=True)
    if kind == "softmax":
        return normaliser - bought
    return functional.softplus(normaliser - bought)


def sampled_products(customers: int, count: int, products: int, device: torch.device) -> Tensor:
    """Sample products uniformly with replacement for each customer, int64 [B, count].

    Purchases are not excluded: among thousands of products they are a small share, and excluding
    them would make the sample depend on the customer.
    """
    return torch.randint(products, (customers, count), device=device)
