"""The profile model under a budget: a noised list of popularity, and a map beside it.

Popularity is not learned by descent but summed, as `ease` sums its Gram matrix: each customer adds
a vector of one length to the list in every private step, and what the list says follows from all
that was released. The map and the gains are learned beside it in the same clipped gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from securefl.ml.item_rows import Axis, Block
from securefl.tasks.common.settings import ProfileSettings
from securefl.tasks.recommendation.models.denoising import by_size, log_means
from securefl.tasks.recommendation.models.profile import ProfileRanker

_SILENT: Final = 1024
"""Coordinates that no customer moves: the deviation of the noise is known to 2 in 100."""
_BY_KIND: Final = 0.2
"""Share of a customer's squared length that goes to the list of kinds."""
_GROUPS: Final = 12
_GROUP: Final = 200
"""Products of a group at least: a distribution is estimated from them."""


class ListedRanker(ProfileRanker):
    """`ProfileRanker` whose popularity is the denoised sum of all customers' purchases.

    Attributes:
        popularity: The noised list by product, up to a common factor.
        kinds: The same by kind of product, by which the products are grouped.
        silence: Coordinates with an exact gradient of 0: after any number of steps, members and
            dropouts they hold noise of the same deviation as every other coordinate, and tell it.

    Args:
        settings: Sizes.
        levels: Codes of the products on each level, int64 [I] each: department, category, kind.
        products: Number of products I.
    """

    def __init__(self, settings: ProfileSettings, levels: Sequence[Tensor], products: int) -> None:
        super().__init__(settings, levels, products)
        self.kinds = nn.Linear(1, self.sizes[2], bias=False)
        self.silence = nn.Linear(1, _SILENT, bias=False)
        for layer in (self.kinds, self.silence):
            nn.init.zeros_(layer.weight)
        self.known: Tensor
        self.register_buffer("known", torch.zeros(products), persistent=False)
        self._known_from = torch.zeros(0, dtype=torch.float64)

    def item_axes(self) -> dict[str, Axis]:
        """See `HasItemAxes`; with the list of kinds."""
        return super().item_axes() | {"kinds.weight": Axis(0, (Block.of(self.codes[2]),))}

    def common(self, customers: int) -> Tensor:
        """Return the logarithm of the denoised list, float [B, I]; no gradient passes through."""
        if not torch.compiler.is_compiling():  # an exported graph has it as a constant
            self._denoise()
        return self.known.expand(customers, -1)

    def listed(self, items: Tensor, weights: Tensor) -> Tensor:
        """Return each customer's part of the lists times the lists, float [B].

        The derivative by the lists is the customer's part: roots of their shares of purchases by
        product and by kind, of Euclidean length 1 in all. That by `silence` is 0.

        Args:
            items: Products that each customer bought, int64 [B, K].
            weights: Weight of each purchase, float [B, K]; 0 is padding.
        """
        shares = weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-9)
        one = weights.new_ones(len(items), 1)
        by_product = _product(self.popularity(one), items, shares)
        by_kind = _product(self.kinds(one), self.codes[2][items], shares)
        nothing: Tensor = self.silence(torch.zeros_like(one)).sum(dim=1)
        both: Tensor = math.sqrt(1 - _BY_KIND) * by_product + math.sqrt(_BY_KIND) * by_kind
        return both + nothing

    @torch.no_grad()
    def _denoise(self) -> None:
        """Compute the list anew where what was released is another."""
        # As numbers: under `torch.func` the parameters are wrapped, and have no memory.
        layers = (self.popularity, self.kinds, self.silence)
        each = [layer.weight.detach().flatten().tolist() for layer in layers]
        released = torch.tensor([one for part in each for one in part], dtype=torch.float64)
        if torch.equal(released, self._known_from):
            return
        self._known_from = released
        finite = released.nan_to_num(0.0, 0.0, 0.0)  # weights that a coordinator made up
        products, kinds, silence = torch.split(finite, [len(part) for part in each])
        means = _list(products, kinds, float(silence.square().mean().sqrt()), self.codes[2])
        self.known = means.to(self.known.dtype)


def _list(products: Tensor, kinds: Tensor, deviation: float, kind: Tensor) -> Tensor:
    """Return the logarithm of the list by product, float64 [I].

    Args:
        products: The noised list by product, float64 [I].
        kinds: The noised list by kind, float64 [K].
        deviation: Of the noise in each number of both.
        kind: Kind of each product, int64 [I].
    """
    of_kinds = log_means(kinds, deviation, torch.zeros(len(kinds), dtype=torch.int64))
    mean = of_kinds - torch.bincount(kind, minlength=len(kinds)).clamp(min=1).log()
    groups = by_size(mean[kind], max(1, min(_GROUPS, len(products) // _GROUP)))
    return log_means(products, deviation, groups)


def _product(lists: Tensor, codes: Tensor, shares: Tensor) -> Tensor:
    """Return lists [B, n] times the roots of customers' shares by code, float [B]."""
    part = torch.zeros_like(lists).scatter_add(1, codes, shares)
    # The root has no finite derivative at 0, and none is asked for: shares are data.
    return (lists * part.sqrt()).sum(dim=1)
