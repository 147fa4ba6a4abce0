"""Product factors from sums: what customers who bought alike buy, learned under a budget.

Not by descent, which pays for every step, but as alternating least squares with one pass over the
customers a step (subspace iteration; of the kind of Chien et al. 2021, arXiv:2107.09802, and
Krichene et al. 2023, arXiv:2302.07975): a customer's vector says which products go with the code of
the others that they bought. Codes come from what was released before, so that what all steps say
adds up, and the sum of all has the noise of one release for the whole budget. What follows from the
sums (Dwork and Roth 2014, proposition 2.1) costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from securefl.ml.item_rows import Axis, Block
from securefl.tasks.common.settings import ProfileSettings
from securefl.tasks.recommendation.models.factor_solving import (
    answers_of,
    first_codes,
    levels_of,
    reads_of,
)
from securefl.tasks.recommendation.models.listed import (
    BY_PRODUCT,
    NoisedList,
    deviation_of,
    roots_times,
)

_LIST: Final = 0.25
_FACTORS: Final = 0.7
_OVERLAP: Final = 0.05
"""Shares of a customer's squared length: list, factors, and how codes go together."""
_RATIO: Final = math.sqrt(2 * BY_PRODUCT * _LIST / _FACTORS)
"""Brings factors to the scale of the list: half of the purchases are hidden, and weigh double."""
_TINY: Final = 1e-20
_MOST: Final = 1e6
_STEP: Final = 2.0**-32
_LARGEST: Final = 4.0
"""Reads are whole multiples of the first, up to the second: in double precision sums of 2^19 of
them are exact, in whatever order they are added."""
_GAIN: Final = 1.2
"""Factor on the taste: a code of few purchases says less than a customer's taste is."""
_ALIKE: Final = 0.6
"""Factor on purchases from the same groups, which are in part what the taste says, too."""
_FIRM: Final = (100.0, 30.0)
"""Purchases after which a customer's own share of a category, and of a kind within it, weighs as
much as everybody's."""


class FactorRanker(NoisedList):
    """A denoised list of popularity, and factors of products beside it.

    Attributes:
        factors: The noised sum of hidden purchases times codes, [I, d].
        overlap: The noised sum of codes times codes, [d, d].
        reads: What a purchase adds to a customer's code, float [I, d].
        answers: Taste for each product by code, float [d, I].

    Args:
        settings: Sizes.
        levels: Codes of the products on each level, int64 [I] each: department, category, kind.
        products: Number of products I.
    """

    reads: Tensor
    answers: Tensor

    def __init__(self, settings: ProfileSettings, levels: Sequence[Tensor], products: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.stack(tuple(levels)), persistent=False)
        self.dim = min(settings.dim, products)
        self.popularity = nn.Linear(1, products, bias=False)
        self.factors = nn.Linear(self.dim, products, bias=False)
        self.overlap = nn.Linear(self.dim, self.dim, bias=False)
        self.begin_list()
        for layer in (self.popularity, self.factors, self.overlap):
            nn.init.zeros_(layer.weight)
        self._first = first_codes(self.codes, self.dim)
        self.register_buffer("reads", torch.zeros(products, self.dim), persistent=False)
        self.register_buffer("answers", torch.zeros(self.dim, products), persistent=False)
        self._settle(self._first, self.answers)

    def forward(self, items: Tensor, present: Tensor) -> Tensor:
        """Return scores of all products, float [B, I]; see `HistoryRanker.forward`."""
        return self.parts(items, present).sum(dim=2)

    def parts(self, items: Tensor, present: Tensor) -> Tensor:
        """Return list, groups bought before and taste, float [B, I, 3]."""
        every = self.common(len(items)), self.alike(items, present), self.taste(items, present)
        return torch.stack(every, dim=2)

    def alike(self, items: Tensor, present: Tensor) -> Tensor:
        """Return how much more of a product's groups the customer bought than all, float [B, I].

        The logarithm of their share of purchases in its category, and in its kind within that, over
        everybody's, each drawn to everybody's by `_FIRM` purchases: of what is released it takes
        the list alone.
        """
        category, kind = self.codes[1], self.codes[2]
        shares = self.known.softmax(dim=0)
        above = torch.zeros(self.kinds.out_features, dtype=torch.int64).scatter(0, kind, category)
        of_kind = shares.new_zeros(len(above)).scatter_add(0, kind, shares)
        wide = int(category.max()) + 1
        of_category = shares.new_zeros(wide).scatter_add(0, category, shares)
        bought = (present > 0).to(shares.dtype)
        in_category = _counts(category[items], bought, wide)
        in_kind = _counts(kind[items], bought, len(above))
        by_category = _over(
            in_category, in_category.sum(dim=1, keepdim=True), of_category, _FIRM[0]
        )
        within = of_kind / of_category[above]
        by_kind = _over(in_kind, in_category[:, above], within, _FIRM[1])
        found: Tensor = _ALIKE * (by_category[:, category] + by_kind[:, kind])
        return found

    def item_axes(self) -> dict[str, Axis]:
        """See `HasItemAxes`."""
        return self.list_axes() | {
            "factors.weight": Axis(0, (Block.of_items(self.codes.shape[1]),)),
        }

    def taste(self, items: Tensor, present: Tensor) -> Tensor:
        """Return the part of the scores that depends on the customer, float [B, I]."""
        if not torch.compiler.is_compiling():
            self._denoise()
        ratio = self.code(items, present) @ self.answers
        found: Tensor = _GAIN * ratio.sign() * ratio.abs().log1p()
        return found

    def code(self, items: Tensor, present: Tensor) -> Tensor:
        """Return a customer's code, float [B, d], of length 1, or 0 for one without purchases.

        In the precision of `present`.
        """
        read = (present.sqrt().unsqueeze(1) @ self.reads[items].to(present.dtype)).squeeze(1)
        found: Tensor = read / read.norm(dim=1, keepdim=True).clamp(min=1e-9)
        return found

    def _exact_code(self, items: Tensor, marked: Tensor) -> Tensor:
        """Return the code of marked purchases, bool [B, K], from sums that rounding cannot move.

        Where weights are made so that reads cancel, a last digit decides a code; and a product of
        matrices rounds a row by where it stands in the batch, hence by who else is in it.
        """
        return self.code(items, marked.double()).to(self.reads.dtype)

    def summed(self, items: Tensor, weights: Tensor, shown: Tensor) -> Tensor:
        """Return each customer's part of all sums times the sums, float [B].

        The derivative by the parameters is the customer's part, of Euclidean length 1 at most:
        list, hidden purchases times the code of the shown ones, and the whole code times itself,
        each of length 1 before it is weighted.

        Args:
            items: Products that each customer bought, int64 [B, K].
            weights: Weight of each purchase, float [B, K]; 0 is padding.
            shown: 1 for purchases that make the code, float [B, K].
        """
        self._denoise()
        hidden = weights * (1 - shown)
        hidden = hidden / hidden.sum(dim=1, keepdim=True).clamp(min=1e-9)
        code = self._exact_code(items, shown > 0)
        by_factors = roots_times(self.factors(code), items, hidden)
        whole = self._exact_code(items, weights > 0)
        by_overlap = (self.overlap(whole) * whole).sum(dim=1)
        found: Tensor = (
            math.sqrt(_LIST) * self.listed(items, weights)
            + math.sqrt(_FACTORS) * by_factors
            + math.sqrt(_OVERLAP) * by_overlap
        )
        return found

    def released(self) -> tuple[nn.Linear, ...]:
        """See `NoisedList`."""
        return *super().released(), self.factors, self.overlap

    def refresh(self, *weights: Tensor) -> None:
        """See `NoisedList`; with codes and answers."""
        super().refresh(*weights)
        lists, factors, overlap = weights[0].flatten(), weights[3], weights[4]
        if not factors.any():
            self._settle(self._first, torch.zeros_like(self.answers))
            return
        noise = deviation_of(weights[2])
        total = float(lists.sum().clamp(min=max(noise, _TINY)))
        level = (self.known.double().softmax(dim=0) * total).clamp(min=_TINY)
        levels = levels_of(factors * _RATIO, level, noise * _RATIO, [*self.codes[1:]])
        reads = reads_of(levels, self._first.double(), level)
        self._settle(reads, answers_of(levels, overlap))

    def _settle(self, reads: Tensor, solved: Tensor) -> None:
        reads = reads.double().nan_to_num(0.0, 0.0, 0.0).clamp(-_LARGEST, _LARGEST)
        self.reads = ((reads / _STEP).round() * _STEP).to(self.reads.dtype)
        self.answers = solved.nan_to_num(0.0, 0.0, 0.0).clamp(-_MOST, _MOST).to(self.answers.dtype)


def _counts(codes: Tensor, bought: Tensor, size: int) -> Tensor:
    """Return purchases by code, float [B, size], of codes and marks [B, K] each."""
    return bought.new_zeros(len(codes), size).scatter_add(1, codes, bought)


def _over(counts: Tensor, total: Tensor, shares: Tensor, firm: float) -> Tensor:
    """Return the logarithm of drawn shares of a total over everybody's shares, float [B, size]."""
    shares = shares.clamp(min=_TINY)
    return ((counts + firm * shares) / ((total + firm) * shares)).log()
