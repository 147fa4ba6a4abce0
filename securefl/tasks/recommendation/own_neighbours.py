"""A retailer's own item-to-item model of all products, with rows of the public hierarchy.

Beside its customers, X has a row for each department, category and kind: what a retailer of a few
hundred customers cannot know from counts alone, the catalogue says (Jeunen, Van Balen and Goethals
2020, closed-form models with side information). It is never released.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from securefl.tasks.common.histories import Histories
from securefl.tasks.common.ranking_examples import Cases
from securefl.tasks.recommendation.models.ease import ItemToItem, inverse_of_rows, multi_hot
from securefl.tasks.recommendation.personalization import LocalScores, Splits
from securefl.tasks.recommendation.settings import NeighbourSettings

_CHUNK = 256


@dataclass(frozen=True, kw_only=True)
class NeighbourScores(LocalScores):
    """What a retailer's customers bought together, and what the catalogue has together.

    Attributes:
        settings: Sizes.
        groups: Rows of the hierarchy, float32 [G, I]; public.
        bought: The customers' rows, float32 [n, I].
        inverse: `(lambda E + X X')^-1` of both, float32 [n + G, n + G].
    """

    settings: NeighbourSettings
    groups: Tensor
    bought: Tensor
    inverse: Tensor

    @classmethod
    def unfitted(cls, levels: Sequence[Tensor], settings: NeighbourSettings) -> Self:
        """Return the scores without customers, from the products' codes, int64 [I] each."""
        nothing = torch.zeros(0, len(levels[0]))
        return cls(
            weights={},
            validation={},
            settings=settings,
            groups=group_rows(levels) * settings.hierarchy,
            bought=nothing,
            inverse=torch.zeros(0, 0),
        )

    def fitted(
        self, histories: Histories, cases: Mapping[str, Splits], weights: Mapping[str, Tensor]
    ) -> Self:
        """Return the scores of a retailer, with those of its validation cases."""
        everyone = torch.arange(len(histories))
        bought = multi_hot(*histories.padded(everyone), self.groups.shape[1])
        inverse = inverse_of_rows(torch.cat([bought, self.groups]), self.settings.ridge)
        own = replace(self, bought=bought, inverse=inverse)
        scores = own.scorer()
        found = {name: _all(scores, splits["validation"]) for name, splits in cases.items()}
        return replace(own, weights=weights, validation=found)

    def scorer(self) -> Scorer:
        """Return what scores histories."""
        rows = torch.cat([self.bought, self.groups])
        weighted = self.inverse @ rows
        fit = ItemToItem((rows.T, weighted), 1 - (rows * weighted).sum(dim=0))
        return Scorer(fit, self.settings)

    def parts(self, cases: Cases, index: Tensor) -> Tensor:
        """See `LocalScores.parts`; float32 [B, I, 1]."""
        return self.scorer()(cases, index)[:, :, None]

    def tensors(self) -> dict[str, Tensor]:
        """See `LocalScores`; the rows as bits, and nothing that follows from the catalogue."""
        return {"bought": self.bought.to(torch.uint8), "inverse": self.inverse}

    def filled(self, tensors: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Self:
        """See `LocalScores`."""
        bought, inverse = tensors["bought"].float(), tensors["inverse"].float()
        size = len(bought) + len(self.groups)
        if bought.shape[1:] != self.groups.shape[1:] or inverse.shape != (size, size):
            raise ValueError("the item-to-item model is of other products")
        return replace(self, weights=weights, validation={}, bought=bought, inverse=inverse)


@dataclass(frozen=True)
class Scorer:
    """Scores of all products for histories, their newest baskets first.

    Attributes:
        fit: The item-to-item model.
        settings: How fast a purchase in a history ages.
    """

    fit: ItemToItem
    settings: NeighbourSettings

    def __call__(self, cases: Cases, index: Tensor) -> Tensor:
        """Return float32 [B, I] for positions of cases, int64 [B]."""
        items, present = cases.known.padded(index)
        baskets = cases.known.padded_baskets(index)
        newest = (baskets * (present > 0)).amax(dim=1, keepdim=True)
        age = (newest - baskets) / self.settings.baskets
        weights = ((-age).exp() + self.settings.floor) * (present > 0)
        history = torch.zeros(len(items), len(self.fit.diagonal))
        return self.fit.scores(history.scatter_add(1, items, weights))


def group_rows(levels: Sequence[Tensor]) -> Tensor:
    """Return a row of length 1 for each group of products on each level, float32 [G, I]."""
    return torch.cat([_rows(codes) for codes in levels])


def _rows(codes: Tensor) -> Tensor:
    member = codes[None, :] == torch.arange(int(codes.max()) + 1)[:, None]
    sizes = member.sum(dim=1, keepdim=True).clamp(min=1)
    return member.float() / sizes.float().sqrt()


def _all(scores: Scorer, cases: Cases) -> Tensor:
    every = torch.split(torch.arange(len(cases.customers)), _CHUNK)
    return torch.cat([scores(cases, index) for index in every])
