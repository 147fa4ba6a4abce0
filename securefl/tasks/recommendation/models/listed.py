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
BY_PRODUCT: Final = 1 - _BY_KIND
"""The rest: the list by product."""
_GROUPS: Final = 12
_GROUP: Final = 200
"""Products of a group at least: a distribution is estimated from them."""


class NoisedList(nn.Module):
    """A popularity that is the denoised sum of all customers' purchases; a base of models.

    Attributes:
        codes: Codes of the products on each level, int64 [3, I]: department, category, kind.
        popularity: The noised list by product, up to a common factor.
        kinds: The same by kind of product, by which the products are grouped.
        silence: Coordinates with an exact gradient of 0: after any number of steps, members and
            dropouts they hold noise of the same deviation as every other coordinate, and tell it.
        known: The logarithm of the denoised list, float [I].
    """

    codes: Tensor
    popularity: nn.Linear
    kinds: nn.Linear
    silence: nn.Linear
    known: Tensor

    def begin_list(self) -> None:
        """Empty the list, and add that of kinds and the silence, to a model that has codes."""
        self.kinds = nn.Linear(1, int(self.codes[2].max()) + 1, bias=False)
        self.silence = nn.Linear(1, _SILENT, bias=False)
        for layer in (self.popularity, self.kinds, self.silence):
            nn.init.zeros_(layer.weight)
        self.register_buffer("known", torch.zeros(self.codes.shape[1]), persistent=False)
        self._known_from: tuple[Tensor, ...] = ()

    def list_axes(self) -> dict[str, Axis]:
        """Return the lists' axes, see `HasItemAxes`."""
        return {
            "popularity.weight": Axis(0, (Block.of_items(self.codes.shape[1]),)),
            "kinds.weight": Axis(0, (Block.of(self.codes[2]),)),
        }

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
        by_product = roots_times(self.popularity(one), items, shares)
        by_kind = roots_times(self.kinds(one), self.codes[2][items], shares)
        nothing: Tensor = self.silence(torch.zeros_like(one)).sum(dim=1)
        both: Tensor = math.sqrt(BY_PRODUCT) * by_product + math.sqrt(_BY_KIND) * by_kind
        return both + nothing

    def released(self) -> tuple[nn.Linear, ...]:
        """Return the layers that `refresh` reads, the lists and the silence first."""
        return self.popularity, self.kinds, self.silence

    def refresh(self, *weights: Tensor) -> None:
        """Compute what follows from the released weights, float64 each, in their order."""
        products, kinds, silence = (one.flatten() for one in weights[:3])
        means = _list(products, kinds, deviation_of(silence), self.codes[2])
        self.known = means.to(self.known.dtype)

    @torch.no_grad()
    def _denoise(self) -> None:
        """Compute the list anew where what was released is another."""
        # Weights that a coordinator made up are no numbers, or too large for any sum. They are
        # cleaned first: no number equals itself, and all would be computed anew for each batch.
        weights = [plain(layer.weight).nan_to_num(0.0, 0.0, 0.0) for layer in self.released()]
        if len(weights) == len(self._known_from) and all(
            map(torch.equal, weights, self._known_from)
        ):
            return
        self._known_from = tuple(one.clone() for one in weights)
        self.refresh(*(one.double() for one in weights))


class ListedRanker(NoisedList, ProfileRanker):
    """`ProfileRanker` whose popularity is the denoised sum of all customers' purchases.

    Args:
        settings: Sizes.
        levels: Codes of the products on each level, int64 [I] each: department, category, kind.
        products: Number of products I.
    """

    def __init__(self, settings: ProfileSettings, levels: Sequence[Tensor], products: int) -> None:
        super().__init__(settings, levels, products)
        self.begin_list()

    def item_axes(self) -> dict[str, Axis]:
        """See `HasItemAxes`; with the list of kinds."""
        return super().item_axes() | self.list_axes()


def plain(weight: Tensor) -> Tensor:
    """Return a weight as a tensor with memory, float; under `torch.func` it is wrapped."""
    found = weight.detach()
    try:
        found.data_ptr()
    except RuntimeError:
        return torch.tensor(found.tolist(), dtype=found.dtype)
    return found


def deviation_of(silence: Tensor) -> float:
    """Return the deviation of the noise that coordinates without a gradient hold, [n]."""
    return float(silence.square().mean().sqrt())


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


def roots_times(lists: Tensor, codes: Tensor, shares: Tensor) -> Tensor:
    """Return lists [B, n] times the roots of customers' shares by code, float [B]."""
    part = torch.zeros_like(lists).scatter_add(1, codes, shares)
    # The root has no finite derivative at 0, and none is asked for: shares are data.
    return (lists * part.sqrt()).sum(dim=1)
