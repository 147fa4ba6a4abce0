"""What follows from noised sums of product factors: directions above the noise, and answers.

All of it reads what was released and nothing else, and so costs no budget.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Self

import torch
from torch import Tensor

_LEAST: Final = 0.2
"""Weight of a direction that noise hides, in codes: what it says adds up over the steps."""
_NARROW: Final = 0.02
"""Least eigenvalue of how codes go together, in units of the mean one."""
_HIERARCHY: Final = 0.7
"""Share of the first codes' variance that the products of a kind or of a category have in common;
the rest is their own."""
_SEED: Final = 20


@dataclass(frozen=True)
class Directions:
    """The singular value decomposition of noised factors, apart from popularity.

    Attributes:
        left: Orthonormal columns, float64 [I, d].
        sizes: Singular values, float64 [d].
        right: Orthonormal rows, float64 [d, d].
        kept: Share of a direction's square that is no noise, by the edge of the spectrum of a
            matrix of noise alone, float64 [d] in [0, 1].
        common: What all customers have in common, of length 1, float64 [I].
    """

    left: Tensor
    sizes: Tensor
    right: Tensor
    kept: Tensor
    common: Tensor

    @classmethod
    def of(cls, factors: Tensor, level: Tensor, noise: float) -> Self:
        """Decompose.

        Args:
            factors: The noised factors, float64 [I, d].
            level: The denoised list, float64 [I], above 0.
            noise: Standard deviation of the noise in each number.
        """
        common = level / level.norm()
        apart = factors - common[:, None] * (common @ factors)
        left, sizes, right = torch.linalg.svd(apart, full_matrices=False)
        # The largest singular value of Gaussian noise (Davidson and Szarek 2001, theorem II.13).
        edge = noise * (math.sqrt(factors.shape[0]) + math.sqrt(factors.shape[1]))
        tiny = torch.finfo(torch.float64).tiny
        kept = (1 - (edge / sizes.clamp(min=tiny)).square()).clamp(min=0)
        return cls(left, sizes, right, kept, common)

    def reads(self, first: Tensor) -> Tensor:
        """Return what a purchase adds to a code, float64 [I, d]: nothing that all have in common.

        It is the polar factor of the factors: codes of the next step have the same axes, so that
        its sums can be added to those of the steps before.
        """
        if not self.kept.any():
            return first - self.common[:, None] * (self.common @ first)
        return (self.left * self.kept.sqrt().clamp(min=_LEAST)) @ self.right

    def factors(self) -> Tensor:
        """Return the factors without the directions that noise hides, float64 [I, d]."""
        return (self.left * (self.sizes * self.kept.sqrt())) @ self.right

    @property
    def left_noise(self) -> float:
        """Share of the noise's square that is in the directions kept."""
        return float((self.kept > 0).double().mean())


def answers(factors: Tensor, overlap: Tensor, level: Tensor, noise: float, kind: Tensor) -> Tensor:
    """Return by how much a code lets a product be bought more often, over 1, float64 [d, I].

    Least squares of purchases by codes, from their sums, where each product's factors are first
    drawn to those of its kind, and those to 0, as far as the noise says.

    Args:
        factors: Sum of purchases times codes, at the scale of `level`, float64 [I, d].
        overlap: Noised sum of codes times codes, at any scale, float64 [d, d].
        level: The denoised list, float64 [I], above 0.
        noise: Deviation of the noise in each of the factors.
        kind: Kind of each product, int64 [I].
    """
    ratios = factors / level[:, None]
    ratios = ratios - (level / level.sum()) @ ratios
    by_kind = _grouped(ratios * level[:, None], level, noise, kind)
    rest = _drawn(ratios - by_kind[kind], level, (noise / level).square())
    return _inverse(overlap) @ (by_kind[kind] + rest).T


def first_codes(codes: Tensor, dim: int) -> Tensor:
    """Return what a purchase adds to the first codes, float [I, dim], from the catalogue alone."""
    random = torch.Generator().manual_seed(_SEED)
    own = torch.randn(codes.shape[1], dim, generator=random)
    groups = [torch.randn(int(one.max()) + 1, dim, generator=random)[one] for one in codes[1:]]
    shared = torch.stack(groups).sum(dim=0) / math.sqrt(len(groups))
    found = math.sqrt(_HIERARCHY) * shared + math.sqrt(1 - _HIERARCHY) * own
    return found / math.sqrt(codes.shape[1])


def _grouped(sums: Tensor, level: Tensor, noise: float, kind: Tensor) -> Tensor:
    """Return the ratios of kinds of products, drawn to 0, float64 [K, d]."""
    count = int(kind.max()) + 1
    total = sums.new_zeros(count, sums.shape[1]).index_add_(0, kind, sums)
    levels = sums.new_zeros(count).index_add_(0, kind, level).clamp(min=float(level.min()))
    sizes = torch.bincount(kind, minlength=count).double()
    return _drawn(total / levels[:, None], levels, sizes * (noise / levels).square())


def _drawn(ratios: Tensor, level: Tensor, variance: Tensor) -> Tensor:
    """Return ratios drawn to 0 by their noise, [n, d]; how far they scatter is read off them."""
    weight = level.square() / level.square().sum()
    squares = ratios.square().mean(dim=1)
    scatter = (weight @ (squares - variance)).clamp(min=0.02 * float(weight @ squares))
    drawn: Tensor = ratios * (scatter / (scatter + variance).clamp(min=1e-300))[:, None]
    return drawn


def _inverse(overlap: Tensor) -> Tensor:
    """Return the inverse of the mean of a code times itself, whose trace is 1, float64 [d, d]."""
    values, vectors = torch.linalg.eigh((overlap + overlap.T) / 2)
    mean = values.mean().clamp(min=torch.finfo(torch.float64).tiny)
    shares = (values / mean).clamp(min=_NARROW, max=float(len(values))) / len(values)
    found: Tensor = (vectors / shares) @ vectors.T
    return found
