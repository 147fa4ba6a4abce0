"""What a retailer serves beside the shared model and never releases: its own statistics.

They are computed exactly, from its own customers alone, and need no noise because nobody outside
ever sees them. docs/privacy.md, "What is never released".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from securefl.tasks.histories import Histories


@dataclass(frozen=True)
class Neighbours:
    """Which products are bought together at one retailer.

    The item-to-item model with the smallest squared error and a zero diagonal (Steck 2019, eq. 8),
    by the matrix inversion lemma in the number of customers n and not of products I: with
    `K = (lambda E + X X')^-1`, the scores of a history x are `x - (x - x X' K X) / (1 - diag(X' K
    X))`.

    Attributes:
        bought: Which customer bought what, float32 [n, I], 0 or 1.
        weighted: K X, float32 [n, I].
        diagonal: 1 - diag(X' K X), float32 [I], in (0, 1].
    """

    bought: Tensor
    weighted: Tensor
    diagonal: Tensor

    @classmethod
    def of(cls, histories: Histories, products: int, ridge: float) -> Neighbours:
        """The statistics of a retailer's training histories; `ridge` is lambda above 0."""
        bought = multi_hot(*histories.padded(torch.arange(len(histories))), products)
        kernel = (bought @ bought.T).double()
        kernel += ridge * torch.eye(len(bought), dtype=torch.float64)
        weighted = torch.linalg.inv(kernel).float() @ bought
        return cls(bought, weighted, 1 - (bought * weighted).sum(dim=0))

    def scores(self, history: Tensor) -> Tensor:
        """Scores of all products, float32 [B, I], for histories [B, I] of 0 and 1."""
        explained = (history @ self.bought.T) @ self.weighted
        return history - (history - explained) / self.diagonal


def multi_hot(items: Tensor, present: Tensor, products: int) -> Tensor:
    """Padded histories (int64 and float [B, K]) as float32 [B, I], 1 where bought."""
    marks = torch.zeros(len(items), products)
    return marks.scatter_reduce_(1, items, (present > 0).float(), "amax")
