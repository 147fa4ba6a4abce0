"""Feature model: next purchases from product features and, where known, product ids.

A customer is represented by their purchases, counted on every feature of the public catalogue, and
has no vector. A product is the sum of its features' scores and, once it has been sold, of a score
of its own id; so a product without any sale has a rank from its first day.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from securefl.ml.item_rows import Axis, Block
from securefl.tasks.content.settings import FeatureSettings
from securefl.tasks.recommendation.models.profile import HistoryRanker, shares_of

OUT_OF_REACH: Final = -1e4
"""Score of a masked product."""


class FeatureRanker(HistoryRanker):
    """Scores all products from one customer's own history alone.

    With f(i) the code of product i in feature f, and x_f the roots of the customer's purchase
    shares by that feature,

        score(i) = sum_f (p_f + g_f x_f + D_f E x)[f(i)]

    where E x maps the profile over the mapped features to a low-rank code, and D_f maps it back.
    Each popularity p_f is a weight times a scale; its learning rate grows with the squared scale.
    Every parameter is shared and belongs to a linear layer, and a customer's scores depend on no
    other customer, so that per-customer gradients exist and can be clipped.

    Args:
        settings: Sizes, and the mapped features.
        features: Codes of the products in each feature, int64 [I] each, in the order of the
            settings' `features`; a model with product ids has them as the last one.
        cold: Products that count as never sold, bool [I]: their ids get no score.
    """

    def __init__(self, settings: FeatureSettings, features: Sequence[Tensor], cold: Tensor) -> None:
        super().__init__()
        products = torch.arange(len(cold))
        codes = [*features, products] if settings.knows_products else [*features]
        self.step, self.id_dropout = settings.popularity_step, settings.id_dropout
        self.names = settings.groups
        self.mapped = [name in settings.mapped for name in self.names]
        self.sizes = [int(code.max()) + 1 for code in codes]
        self.codes: Tensor
        self.cold: Tensor
        self.register_buffer("codes", torch.stack(codes), persistent=False)
        self.register_buffer("cold", cold, persistent=False)
        sizes = torch.tensor(self.sizes)
        taper = (sizes / len(cold)) ** settings.popularity_taper
        self.taper: Tensor
        self.register_buffer("taper", taper.repeat_interleave(sizes), persistent=False)
        inputs = sum(size for size, is_in in zip(self.sizes, self.mapped, strict=True) if is_in)
        self.encode = nn.Linear(inputs, settings.rank, bias=False)
        self.decode = nn.Linear(settings.rank, inputs, bias=False)
        self.popularity = nn.Linear(1, sum(self.sizes), bias=False)
        self.repeat = nn.ModuleList(nn.Linear(1, 1, bias=False) for _ in features)
        self.begin(settings.rank, settings.repeat)

    def item_axes(self) -> dict[str, Axis]:
        """See `HasItemAxes`; one block a feature."""
        every = tuple(Block.of(code) for code in self.codes)
        mapped = tuple(one for one, is_in in zip(every, self.mapped, strict=True) if is_in)
        return {
            "encode.weight": Axis(1, mapped),
            "decode.weight": Axis(0, mapped),
            "popularity.weight": Axis(0, every),
        }

    def scores_of_known(self, items: Tensor, present: Tensor) -> Tensor:
        """Return the scores with new products masked: in training they are not yet on sale.

        Without the mask the softmax would learn that they are never bought.
        """
        scores: Tensor = self(items, present)
        return scores.masked_fill(self.cold, OUT_OF_REACH)

    def common(self, customers: int) -> Tensor:
        """Return the part of the scores that all customers have in common, float [B, I]."""
        weight = self.popularity.weight
        scores: Tensor = self.popularity(weight.new_full((customers, 1), self.step)) * self.taper
        return self._of_products(torch.split(scores, self.sizes, dim=1))

    def taste(self, items: Tensor, present: Tensor) -> Tensor:
        """Return the part of the scores that depends on the customer, float [B, I]."""
        profiles = {
            place: shares_of(codes[items], present, size)
            for place, (codes, size) in enumerate(zip(self.codes, self.sizes, strict=True))
            if self.mapped[place] or place < len(self.repeat)
        }
        read = [profiles[place] for place, is_in in enumerate(self.mapped) if is_in]
        written = self.decode(self.encode(torch.cat(read, dim=1)))
        maps = iter(torch.split(written, [part.shape[1] for part in read], dim=1))
        parts: list[Tensor | None] = [next(maps) if is_in else None for is_in in self.mapped]
        for place, gain in enumerate(self.repeat):
            again = gain(profiles[place].unsqueeze(2)).squeeze(2)
            found = parts[place]
            parts[place] = again if found is None else found + again
        return self._of_products(parts)

    def _of_products(self, parts: Sequence[Tensor | None]) -> Tensor:
        """Return the sum over features of the score of each product's code, float [B, I]."""
        total: Tensor | None = None
        for name, part, codes in zip(self.names, parts, self.codes, strict=True):
            if part is None:
                continue
            said = self._of_sold(part) if name == "product" else part.index_select(1, codes)
            total = said if total is None else total + said
        assert total is not None
        return total

    def _of_sold(self, part: Tensor) -> Tensor:
        """Return the scores of product ids, a random part hidden in training, float [B, I].

        Where they are hidden, the features alone have to predict, as for a new product (Volkovs et
        al. 2017, DropoutNet).
        """
        known = ~self.cold.expand_as(part)
        if self.training and self.id_dropout:
            known = known & (torch.rand_like(part) >= self.id_dropout)
        return part * known


class DomainRanker(FeatureRanker):
    """A ranker of products of two domains.

    Args:
        settings: See `FeatureRanker`.
        features: See `FeatureRanker`.
        cold: See `FeatureRanker`.
        target: Mask of the products of the second domain, bool [I].
    """

    def __init__(
        self, settings: FeatureSettings, features: Sequence[Tensor], cold: Tensor, target: Tensor
    ) -> None:
        super().__init__(settings, features, cold)
        self.target: Tensor
        self.register_buffer("target", target, persistent=False)
