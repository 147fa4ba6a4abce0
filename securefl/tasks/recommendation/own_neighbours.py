"""A retailer's own item-to-item model of all products, with rows of the public hierarchy.

Beside its customers, X has a row for each department, category and kind: what a retailer of a few
hundred customers cannot know from counts alone, the catalogue says (closed-form models with side
information; Jeunen, Van Balen and Goethals 2020). It is never released.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import torch
from torch import Tensor

from securefl.tasks.common.histories import Histories
from securefl.tasks.common.ranking_examples import Cases
from securefl.tasks.recommendation.lists import spread
from securefl.tasks.recommendation.models.ease import inverse_of, multi_hot
from securefl.tasks.recommendation.personalization import LocalScores, Splits
from securefl.tasks.recommendation.settings import NeighbourSettings

_CHUNK: Final = 256
_KEPT: Final = 20_000_000
"""So many scores of validation cases are kept for the next round; more are computed again."""


@dataclass(frozen=True)
class GroupRows:
    """Rows of X for groups of products, by which no product of matrices has to be dense.

    Attributes:
        codes: The row of each product's group on each level, int64 [L, I].
        values: What stands there, float32 [L, I]: every row has the same length.
        count: Number of rows G.
    """

    codes: Tensor
    values: Tensor
    count: int

    @classmethod
    def of(cls, levels: Sequence[Tensor], length: float, most: int) -> GroupRows:
        """Build them from the products' codes on each level, int64 [I] each, the widest first.

        A level that would lead beyond `most` rows is left out, and all after it.
        """
        codes = [torch.zeros(0, len(levels[0]), dtype=torch.int64)]
        values, count = [torch.zeros(0, len(levels[0]))], 0
        for level in levels:
            sizes = torch.bincount(level)
            if count + len(sizes) > most:
                break
            codes.append((level + count)[None])
            values.append((length / sizes[level].sqrt())[None])
            count += len(sizes)
        return cls(torch.cat(codes), torch.cat(values), count)

    def times(self, columns: Tensor) -> Tensor:
        """Return the rows' inner products with rows [B, I], float32 [B, G]."""
        found = columns.new_zeros(len(columns), self.count)
        for codes, values in zip(self.codes, self.values, strict=True):
            found = found.scatter_add(1, codes.expand(len(columns), -1), columns * values)
        return found

    def combined(self, weights: Tensor) -> Tensor:
        """Return sums of the rows under weights [B, G], float32 [B, I]."""
        pairs = zip(self.codes, self.values, strict=True)
        found = weights.new_zeros(len(weights), self.codes.shape[1])
        for codes, values in pairs:
            found = found + weights.index_select(1, codes) * values
        return found

    def dense(self) -> Tensor:
        """Return the rows, float32 [G, I]."""
        return self.combined(torch.eye(self.count))


@dataclass(frozen=True, kw_only=True)
class NeighbourScores(LocalScores):
    """What a retailer's customers bought together, and what the catalogue has together.

    Attributes:
        settings: Sizes.
        groups: Rows of the hierarchy; public.
        bought: The customers' rows, float32 [n, I].
        inverse: `(lambda E + X X')^-1` of both, float32 [n + G, n + G].
    """

    settings: NeighbourSettings
    groups: GroupRows
    bought: Tensor
    inverse: Tensor

    @classmethod
    def unfitted(cls, levels: Sequence[Tensor], settings: NeighbourSettings) -> Self:
        """Return the scores without customers, from the products' codes, int64 [I] each."""
        return cls(
            weights={},
            validation={},
            settings=settings,
            groups=GroupRows.of(levels, settings.hierarchy, settings.rows),
            bought=torch.zeros(0, len(levels[0])),
            inverse=torch.zeros(0, 0),
        )

    def fitted(
        self, histories: Histories, cases: Mapping[str, Splits], weights: Mapping[str, Tensor]
    ) -> Self:
        """Return the scores of a retailer, with those of its validation cases."""
        chosen = spread(len(histories), self.settings.rows)
        bought = multi_hot(*histories.padded(chosen), self.bought.shape[1])
        between = self.groups.times(bought)
        among = self.groups.times(self.groups.dense())
        products = torch.cat(
            [torch.cat([bought @ bought.T, between], 1), torch.cat([between.T, among], 1)]
        )
        inverse = inverse_of(products, self.settings.ridge)
        own = replace(self, weights=weights, bought=bought, inverse=inverse)
        scores = own.scorer()
        validation = {name: splits["validation"] for name, splits in cases.items()}
        few = {name: one for name, one in validation.items() if fits_memory(one)}
        return replace(own, validation={name: _all(scores, one) for name, one in few.items()})

    def scorer(self) -> Scorer:
        """Return what scores histories."""
        count = len(self.bought)
        # Of each product's column r of X: r' P r, its customers and its groups apart.
        of_customers = (self.inverse[:count, :count] @ self.bought) * self.bought
        crossed = self.groups.combined(self.inverse[:count, count:]) * self.bought
        among = self.groups.combined(self.inverse[count:, count:])
        pairs = zip(self.groups.codes, self.groups.values, strict=True)
        places = torch.arange(among.shape[1])
        of_groups = torch.zeros(len(places))
        for codes, values in pairs:
            of_groups = of_groups + among[codes, places] * values
        explained = (of_customers + 2 * crossed).sum(dim=0) + of_groups
        return Scorer(self, 1 - explained)

    def parts(self, cases: Cases, index: Tensor) -> Tensor:
        """See `LocalScores.parts`; float32 [B, I, 1]."""
        return self.scorer()(cases, index)[:, :, None]

    def tensors(self) -> dict[str, Tensor]:
        """See `LocalScores`; the rows as bits, and nothing that follows from the catalogue."""
        return {"bought": self.bought.to(torch.uint8), "inverse": self.inverse}

    def filled(self, tensors: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Self:
        """See `LocalScores`."""
        bought, inverse = tensors["bought"].float(), tensors["inverse"].float()
        size = len(bought) + self.groups.count
        if bought.shape[1:] != self.bought.shape[1:] or inverse.shape != (size, size):
            raise ValueError("the item-to-item model is of other products")
        return replace(self, weights=weights, validation={}, bought=bought, inverse=inverse)


@dataclass(frozen=True)
class Scorer:
    """Scores of all products for histories, in which newer baskets weigh more.

    Attributes:
        model: The fitted model.
        diagonal: `lambda diag(P)` over the products, float32 [I], in (0, 1].
    """

    model: NeighbourScores
    diagonal: Tensor

    def __call__(self, cases: Cases, index: Tensor) -> Tensor:
        """Return float32 [B, I] for positions of cases, int64 [B]."""
        model, history = self.model, self._histories(cases, index)
        count = len(model.bought)
        known = torch.cat([history @ model.bought.T, model.groups.times(history)], dim=1)
        weights = known @ model.inverse
        explained = weights[:, :count] @ model.bought + model.groups.combined(weights[:, count:])
        return history - (history - explained) / self.diagonal

    def _histories(self, cases: Cases, index: Tensor) -> Tensor:
        """Return the cases' histories as rows of X, each purchase by how long ago it was."""
        items, present = cases.known.padded(index)
        there = (present > 0).float()
        baskets = cases.known.padded_baskets(index) * (present > 0)
        age = (baskets.amax(dim=1, keepdim=True) - baskets) / self.model.settings.baskets
        weights = ((-age).exp() + self.model.settings.floor) * there
        return torch.zeros(len(items), len(self.diagonal)).scatter_add(1, items, weights)


def fits_memory(cases: Cases) -> bool:
    """Return whether scores of all products for all of the cases are worth their memory."""
    return len(cases.customers) * len(cases.prior) <= _KEPT


def _all(scores: Scorer, cases: Cases) -> Tensor:
    every = torch.split(torch.arange(len(cases.customers)), _CHUNK)
    return torch.cat([scores(cases, index) for index in every])
