"""What follows from noised sums of product factors: directions above the noise, and answers.

All of it reads what was released and nothing else, and so costs no budget. What the products of a
category, then of a kind, have in common is taken out first: there are few of them, and the noise of
a small matrix hides less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
_SCATTER: Final = 0.02
"""Least share of what ratios of a level scatter that is not noise."""
_ROUNDED: Final = 1e-7
"""Length of a direction, over all factors, below which it is rounding: a kind that is a category of
its own has nothing left to say."""
_SEED: Final = 20
_TINY: Final = 1e-300


@dataclass(frozen=True)
class Level:
    """The part of the factors that groups of products have in common, decomposed.

    Attributes:
        group: Group of each product, int64 [I].
        within: What a product is of its group's length, float64 [I].
        length: Length of each group's part of the list, float64 [G].
        left: Left singular vectors of the groups' factors, float64 [G, r]; 0 where it is rounding.
        sizes: Singular values, float64 [r].
        right: Right singular vectors, float64 [r, d].
        kept: Share of a direction's square that is no noise, float64 [r] in [0, 1].
        noise: Deviation of the noise in the groups' factors.
    """

    group: Tensor
    within: Tensor
    length: Tensor
    left: Tensor
    sizes: Tensor
    right: Tensor
    kept: Tensor
    noise: float

    @classmethod
    def of(cls, factors: Tensor, level: Tensor, group: Tensor, noise: float, least: float) -> Self:
        """Decompose what the products of each group have in common, up to their popularity.

        Args:
            factors: Noised factors, float64 [I, d].
            level: The denoised list, float64 [I], above 0.
            group: Group of each product, int64 [I].
            noise: Standard deviation of the noise in each number.
            least: Singular value up to which a direction is rounding.
        """
        count = int(group.max()) + 1
        length = level.new_zeros(count).index_add_(0, group, level.square()).sqrt()
        length = length.clamp(min=float(level.min()))
        within = level / length[group]
        summed = factors.new_zeros(count, factors.shape[1])
        summed.index_add_(0, group, within[:, None] * factors)
        left, sizes, right = torch.linalg.svd(summed, full_matrices=False)
        there = sizes > least
        # The largest singular value of Gaussian noise (Davidson and Szarek 2001, theorem II.13).
        edge = noise * (math.sqrt(count) + math.sqrt(factors.shape[1]))
        kept = (1 - (edge / sizes.clamp(min=_TINY)).square()).clamp(min=0) * there
        return cls(group, within, length, left * there, sizes, right, kept, noise)

    def spread(self, of_groups: Tensor) -> Tensor:
        """Return numbers of groups [G, d] as numbers of products, float64 [I, d]."""
        return self.within[:, None] * of_groups[self.group]

    def raw(self) -> Tensor:
        """Return the groups' factors as they were decomposed, float64 [G, d]."""
        return (self.left * self.sizes) @ self.right

    def polar(self) -> Tensor:
        """Return the polar factor, float64 [G, d].

        Codes of the next step have the same axes by it, so that its sums can be added to those of
        the steps before.
        """
        return (self.left * self.kept.sqrt().clamp(min=_LEAST)) @ self.right

    def ratios(self) -> Tensor:
        """Return the groups' factors over their part of the list, drawn to 0, float64 [G, d].

        Directions that noise hides are left out, and each group's ratio is drawn as far as its own
        noise says; how far the ratios of a level scatter is read off them.
        """
        found = (self.left * (self.sizes * self.kept.sqrt())) @ self.right / self.length[:, None]
        left = float((self.kept > 0).double().mean())
        variance = left * (self.noise / self.length).square()
        weight = self.length.square() / self.length.square().sum()
        squares = found.square().mean(dim=1)
        scatter = (weight @ (squares - variance)).clamp(min=_SCATTER * float(weight @ squares))
        drawn: Tensor = found * (scatter / (scatter + variance).clamp(min=_TINY))[:, None]
        return drawn


def levels_of(factors: Tensor, level: Tensor, noise: float, codes: Sequence[Tensor]) -> list[Level]:
    """Return categories, kinds and products, each without what the wider ones have in common.

    Args:
        factors: The noised factors, float64 [I, d].
        level: The denoised list, float64 [I], above 0.
        noise: Standard deviation of the noise in each number.
        codes: Groups of the products, int64 [I] each, the widest first.
    """
    products = torch.arange(len(level))
    rest, found, least = factors, [], _ROUNDED * float(factors.norm())
    for group in (torch.zeros_like(products), *codes, products):
        one = Level.of(rest, level, group, noise, least)
        rest = rest - one.spread(one.raw())
        found.append(one)
    return found[1:]  # what all have in common is popularity


def reads_of(levels: Sequence[Level], first: Tensor, level: Tensor) -> Tensor:
    """Return what a purchase adds to a code, float64 [I, d]: nothing that all have in common.

    Args:
        levels: See `levels_of`.
        first: What it adds before any factors stand out of the noise, float64 [I, d].
        level: The denoised list, float64 [I].
    """
    if not any(bool(one.kept.any()) for one in levels):
        common = level / level.norm()
        without: Tensor = first - common[:, None] * (common @ first)
        return without
    found: Tensor = torch.stack([one.spread(one.polar()) for one in levels]).sum(dim=0)
    return found


def answers_of(levels: Sequence[Level], overlap: Tensor) -> Tensor:
    """Return by how much a code lets a product be bought more often, over 1, float64 [d, I].

    Least squares of purchases by codes, from the sums of their products.

    Args:
        levels: See `levels_of`; of factors at the scale of the list.
        overlap: Noised sum of codes times codes, at any scale, float64 [d, d].
    """
    ratios = torch.stack([one.ratios()[one.group] for one in levels]).sum(dim=0)
    values, vectors = torch.linalg.eigh((overlap + overlap.T) / 2)
    mean = values.mean().clamp(min=_TINY)
    shares = (values / mean).clamp(min=_NARROW, max=float(len(values))) / len(values)
    found: Tensor = (vectors / shares) @ vectors.T @ ratios.T
    return found


def first_codes(codes: Tensor, dim: int) -> Tensor:
    """Return what a purchase adds to the first codes, float [I, dim], from the catalogue alone."""
    random = torch.Generator().manual_seed(_SEED)
    own = torch.randn(codes.shape[1], dim, generator=random)
    groups = [torch.randn(int(one.max()) + 1, dim, generator=random)[one] for one in codes[1:]]
    shared = torch.stack(groups).sum(dim=0) / math.sqrt(len(groups))
    found = math.sqrt(_HIERARCHY) * shared + math.sqrt(1 - _HIERARCHY) * own
    return found / math.sqrt(codes.shape[1])
