"""Profile model: next purchases from categories bought before, small enough to train privately.

A customer is represented by their purchases, counted on the levels of the public product hierarchy,
and has no vector. The parameters are a popularity per product, a low-rank map between categories,
and weights of earlier purchases from the same department, category or kind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from securefl.ml.item_rows import Axis, Block
from securefl.tasks.common.settings import ProfileSettings


class HistoryRanker(nn.Module, ABC):
    """Base of models that score all products from one customer's own history.

    Attributes:
        encode: Map of a profile to a low-rank code.
        decode: Map of the code back to categories.
        popularity: Score that all customers have in common.
        repeat: Weight of similar earlier purchases, by level.
    """

    encode: nn.Linear
    decode: nn.Linear
    popularity: nn.Linear
    repeat: nn.ModuleList

    def forward(self, items: Tensor, present: Tensor) -> Tensor:
        """Return scores of all products, float [B, I].

        Args:
            items: Products that each customer bought, int64 [B, K].
            present: 1 for shown purchases, 0 for padding and hidden ones, float [B, K].
        """
        return self.common(len(items)) + self.taste(items, present)

    def begin(self, rank: int, repeat: float) -> None:
        """Initialise: the scores are the similarity to earlier purchases alone."""
        nn.init.normal_(self.encode.weight, std=rank**-0.5)
        nn.init.zeros_(self.decode.weight)
        nn.init.zeros_(self.popularity.weight)
        for gain in self.repeat.parameters():
            nn.init.constant_(gain, repeat)

    @abstractmethod
    def common(self, customers: int) -> Tensor:
        """Return the part of the scores that all customers have in common, float [B, I]."""

    @abstractmethod
    def taste(self, items: Tensor, present: Tensor) -> Tensor:
        """Return the part of the scores that depends on the customer, float [B, I]."""


class ProfileRanker(HistoryRanker):
    """Scores all products from one customer's own history alone.

    Every parameter is shared and belongs to a linear layer, and a customer's scores depend on no
    other customer, so that per-customer gradients exist and can be clipped.

    Args:
        settings: Sizes.
        levels: Codes of the products on each level, int64 [I] each: department, category, kind.
        products: Number of products I.
    """

    def __init__(self, settings: ProfileSettings, levels: Sequence[Tensor], products: int) -> None:
        super().__init__()
        self.step = settings.popularity_step
        self.codes: Tensor
        self.register_buffer("codes", torch.stack(tuple(levels)), persistent=False)
        self.sizes = [int(codes.max()) + 1 for codes in levels]
        categories = self.sizes[1]
        self.encode = nn.Linear(categories, settings.rank, bias=False)
        self.decode = nn.Linear(settings.rank, categories, bias=False)
        self.popularity = nn.Linear(1, products, bias=False)
        self.repeat = nn.ModuleList(nn.Linear(1, 1, bias=False) for _ in levels)
        self.begin(settings.rank, settings.repeat)

    def item_axes(self) -> dict[str, Axis]:
        """See `HasItemAxes`."""
        categories = (Block.of(self.codes[1]),)
        return {
            "encode.weight": Axis(1, categories),
            "decode.weight": Axis(0, categories),
            "popularity.weight": Axis(0, (Block.of_items(self.codes.shape[1]),)),
        }

    def common(self, customers: int) -> Tensor:
        """Return the part of the scores that all customers have in common, float [B, I]."""
        weight = self.popularity.weight
        scores: Tensor = self.popularity(weight.new_full((customers, 1), self.step))
        return scores

    def taste(self, items: Tensor, present: Tensor) -> Tensor:
        """Return the part of the scores that depends on the customer, float [B, I]."""
        profiles = [
            shares_of(codes[items], present, size)
            for codes, size in zip(self.codes, self.sizes, strict=True)
        ]
        gains = [
            gain(profile.unsqueeze(2)).squeeze(2)
            for gain, profile in zip(self.repeat, profiles, strict=True)
        ]
        gains[1] = gains[1] + self.decode(self.encode(profiles[1]))
        parts = [part[:, codes] for part, codes in zip(gains, self.codes, strict=True)]
        return torch.stack(parts).sum(dim=0)


def shares_of(codes: Tensor, present: Tensor, size: int) -> Tensor:
    """Return roots of the purchase shares by code, float [B, size]: norm 1, or 0 if empty."""
    counts = present.new_zeros(len(codes), size).scatter_add_(1, codes, present)
    return (counts / present.sum(dim=1, keepdim=True).clamp(min=1)).sqrt()
