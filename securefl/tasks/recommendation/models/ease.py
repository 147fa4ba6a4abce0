"""Item-to-item scores in closed form, from co-purchase counts alone.

With X the customers' purchases (one row a customer) and `P = (X' X + lambda E)^-1`, the scores of
a history x are `x B`, `B = E - P / diag(P)`: the least squares model of each product by all others
(EASE; Steck 2019, eq. 8). Of the customers it needs only the Gram matrix `X' X`, which is a sum
over customers, and therefore over retailers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from securefl.tasks.common.histories import Histories

_CHUNK: Final = 512
_COUNTS: Final = 16
_LARGEST: Final = 4.0


def gram(rows: Iterable[Tensor]) -> Tensor:
    """Return `X' X`, float64 [I, I], of the rows of X in batches, float [B, I] each.

    Raises:
        ValueError: If there is no batch.
    """
    total: Tensor | None = None
    for batch in rows:
        total = batch.new_zeros(batch.shape[1], batch.shape[1]) if total is None else total
        total.addmm_(batch.T, batch)
    if total is None:
        raise ValueError("a Gram matrix of no rows")
    return total.double()


def nearest_gram(noised: Tensor) -> Tensor:
    """Return the nearest Gram matrix of a noised one, [I, I]: symmetric, eigenvalues >= 0.

    Higham 1988, theorem 2.1 (Frobenius norm). It is post-processing of a private release, and
    costs no further budget.
    """
    values, vectors = torch.linalg.eigh((noised + noised.T) / 2)
    nearest: Tensor = (vectors * values.clamp(min=0)) @ vectors.T
    return nearest


@dataclass(frozen=True)
class ItemToItem:
    """A fitted EASE model.

    Attributes:
        explains: float32 matrices whose product is `E - lambda P`: one [I, I], or [I, n] and
            [n, I].
        diagonal: `lambda diag(P)`, float32 [I], in (0, 1].
    """

    explains: tuple[Tensor, ...]
    diagonal: Tensor

    @classmethod
    def empty(cls) -> ItemToItem:
        """Return a model that is not fitted."""
        return cls((), torch.zeros(0))

    @classmethod
    def of_gram(cls, together: Tensor, ridge: float) -> ItemToItem:
        """Fit from the Gram matrix, [I, I]; `ridge` is lambda above 0."""
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(_with_ridge(together, ridge)))
        unexplained = ridge * inverse
        explained = torch.eye(len(together), dtype=torch.float64) - unexplained
        return cls((explained.float(),), unexplained.diagonal().float())

    @classmethod
    def of_rows(cls, bought: Tensor, ridge: float) -> ItemToItem:
        """Fit from X itself, float32 [n, I], where customers are fewer than products.

        By the matrix inversion lemma `E - lambda P = X' (lambda E + X X')^-1 X`.
        """
        weighted = inverse_of(bought @ bought.T, ridge) @ bought
        return cls((bought.T, weighted), 1 - (bought * weighted).sum(dim=0))

    def scores(self, history: Tensor) -> Tensor:
        """Return scores of all products, float32 [B, I], for histories float32 [B, I]."""
        explained = history
        for matrix in self.explains:
            explained = explained @ matrix
        return history - (history - explained) / self.diagonal


def inverse_of(products: Tensor, ridge: float) -> Tensor:
    """Return `(lambda E + X X')^-1`, float32 [n, n], for inner products of rows, [n, n]."""
    found: Tensor = torch.linalg.inv(_with_ridge(products, ridge)).float()
    return found


def _with_ridge(products: Tensor, ridge: float) -> Tensor:
    """Return a matrix of inner products as float64, `ridge` added to its diagonal."""
    return products.double() + ridge * torch.eye(len(products), dtype=torch.float64)


class GramMatrix(nn.Module):
    """The Gram matrix as the parameters of a loss that is linear in them.

    The gradient of an example is minus its `x x'`. So one step of gradient descent from 0 at
    learning rate 1 on all examples gives their mean, secure aggregation sums it exactly, and
    clipping and noise make it private, as with any other gradient.

    Args:
        items: Number of items I.
    """

    def __init__(self, items: int) -> None:
        super().__init__()
        self.together = nn.Linear(items, items, bias=False)
        nn.init.zeros_(self.together.weight)

    def losses(self, bought: Tensor) -> Tensor:
        """Return minus `x' G x` of each row x of X, float [B], for rows float [B, I]."""
        rows = bought.to(self.together.weight.dtype)
        products: Tensor = self.together(rows)
        return -(rows * products).sum(dim=1)

    @property
    def matrix(self) -> Tensor:
        """The sum, up to a public factor, float32 [I, I]."""
        return self.together.weight.detach()


class EaseRanker(GramMatrix):
    """A Gram matrix of agreed items, to which the products of an assortment belong.

    Args:
        rows: The item of each product, int64 [I]; -1 for products that belong to none.
    """

    def __init__(self, rows: Tensor) -> None:
        super().__init__(int(rows.max()) + 1)
        self.rows: Tensor
        self.register_buffer("rows", rows, persistent=False)

    def bought(self, items: Tensor, present: Tensor) -> Tensor:
        """Return padded histories (int64 and float [B, K]) as rows of X, float32 [B, N]."""
        rows = self.rows[items]
        counts = present * (rows >= 0)
        return multi_hot(rows.clamp(min=0), counts, self.together.in_features)

    @torch.no_grad()
    def settle(self, histories: Histories, samples: int) -> None:
        """Set the matrix to that of histories: their sum over samples, times a public factor.

        The factor keeps the largest count of a catalogue of any size within what a sum may hold.
        """
        batches = (
            self.bought(*histories.padded(index))
            for index in torch.split(torch.arange(len(histories)), _CHUNK)
        )
        scale = len(self.rows) / _COUNTS / max(samples, 1)
        found = gram(batches) * scale
        self.together.weight.copy_(found.clamp(max=_LARGEST))

    def spread(self, scores: Tensor, otherwise: float) -> Tensor:
        """Return item scores, [B, N], as product scores, [B, I]; others get `otherwise`."""
        return torch.where(self.rows >= 0, scores[:, self.rows.clamp(min=0)], otherwise)


def multi_hot(items: Tensor, present: Tensor, count: int) -> Tensor:
    """Return padded histories (int64 and float [B, K]) as float32 [B, count], 1 if bought."""
    marks = torch.zeros(len(items), count)
    # Not in place, which `torch.vmap` could not follow; a sum and not a maximum, which ONNX lacks.
    return (marks.scatter_add(1, items, (present > 0).float()) > 0).float()
