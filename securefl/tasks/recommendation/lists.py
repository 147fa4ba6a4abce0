"""Lists of products for customers, from scores of all products."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from securefl.errors import InputError
from securefl.ml.metrics.ranking import RankingCases, parts_of
from securefl.tasks.common.held_out import ListedCustomer
from securefl.tasks.common.histories import Histories
from securefl.tasks.common.purchase_lines import Purchases
from securefl.tasks.common.ranking_examples import Cases, histories
from securefl.tasks.common.splits import histories_of
from securefl.tasks.recommendation.customer_rows import CustomerRows
from securefl.tasks.recommendation.personalization import LocalScores
from securefl.tasks.recommendation.task import CaseScores

Ints = npt.NDArray[np.int64]

_LISTED: Final = 10
"""Products of a list where nothing else is asked for."""
SHOWN: Final = 10
"""Customers whose lists are drawn."""
_BEFORE: Final = 5
"""Earlier purchases that are drawn beside a list."""
CHUNK: Final = 256
"""Customers that are scored at a time; the closing evaluation scores as many."""


@dataclass(frozen=True)
class Group:
    """What a member has of a group of its cases: its known products, or its new ones.

    Attributes:
        name: The group's name.
        prior: Fixed part of the scores, float32 [I].
        popularity: Customers who bought each product in training, float32 [I].
        sold: Products that the member sold, bool [I].
        weights: Weights of the blend, float64 [P]; None where nothing is blended.
    """

    name: str
    prior: Tensor
    popularity: Tensor
    sold: Tensor
    weights: Tensor | None

    def tensors(self) -> dict[str, Tensor]:
        """Return its tensors by name."""
        found = {"prior": self.prior, "popularity": self.popularity}
        found["sold"] = self.sold.to(torch.uint8)
        return found if self.weights is None else found | {"weights": self.weights}

    @classmethod
    def of(cls, name: str, tensors: Mapping[str, Tensor], products: int) -> Group:
        """Return the inverse of `tensors`.

        Raises:
            ValueError: If one is of another shape; also KeyError.
        """
        for part in ("prior", "popularity", "sold"):
            if tensors[part].shape != (products,):
                raise ValueError(f"{part} is not of {products} products")
        weights = tensors.get("weights")
        known = tensors["prior"].float(), tensors["popularity"].float(), tensors["sold"].bool()
        return cls(name, *known, weights)


@dataclass(frozen=True)
class Asked:
    """What lists are made of, for one request.

    Attributes:
        group: The member's products.
        scores: Scores of all of them.
        rows: The customers of the model's rows.
        products: Product ids, int64 [I].
        wanted: Products that may be listed, bool [I].
        k: Length of each list.
    """

    group: Group
    scores: CaseScores
    rows: CustomerRows
    products: Ints
    wanted: Tensor
    k: int


@dataclass(frozen=True)
class KnownPurchases:
    """What lists rest on, laid out once for all requests.

    Attributes:
        customers: Customers with any purchase, int64 [c], ascending.
        ids: Those with a history, int64 [n], ascending.
        known: Their histories.
        bought: What each customer bought, new products included.
        sold: Products that were sold, bool [I].
    """

    customers: Ints
    ids: Ints
    known: Histories
    bought: Bought
    sold: Tensor

    @classmethod
    def of(cls, lines: Purchases, history: Purchases, products: int) -> KnownPurchases:
        """Return them from lines, those that are part of a history, and the number of products."""
        ids, pairs = histories_of(history)
        sold = torch.zeros(products, dtype=torch.bool)
        sold[torch.from_numpy(lines.item)] = True
        known = histories(pairs)
        return cls(np.unique(lines.customer), ids, known, Bought(lines, products), sold)


class Lists:
    """Lists for one request.

    Args:
        asked: What is asked.
        purchases: What customers bought.
        keep_bought: Whether a list may hold what its customer bought.
    """

    def __init__(self, asked: Asked, purchases: KnownPurchases, *, keep_bought: bool) -> None:
        self._asked, self._keep = asked, keep_bought
        self._purchases = purchases
        shares = asked.group.popularity / max(len(asked.rows), 1)
        self._popular = shares.masked_fill(~asked.wanted, float("-inf"))

    @torch.no_grad()
    def of(self, ids: Ints) -> pd.DataFrame:
        """Return the lists of some customers, int64 [m]."""
        asked = self._asked
        place, has = places(self._purchases.ids, ids)
        rows = asked.rows.of_customers(ids)
        scores = self._popular.expand(len(ids), -1).clone()
        chosen = np.flatnonzero(has)
        for first in range(0, len(chosen), CHUNK):
            part = chosen[first : first + CHUNK]
            cases = self._cases(place[part], rows[part])
            scores[torch.from_numpy(part)] = asked.scores(cases, torch.arange(len(part)))
        scores.masked_fill_(~asked.wanted, float("-inf"))
        if not self._keep:
            scores[self._purchases.bought.cells(ids)] = float("-inf")
        basis = np.where(rows < len(asked.rows), "known", "history")
        found = scores.topk(asked.k, dim=1)
        return list_frame(asked.products, ids, np.where(has, basis, "popular"), found)

    def _cases(self, place: Ints, rows: Ints) -> Cases:
        at, group = torch.from_numpy(place), self._asked.group
        nothing = torch.zeros(len(place) + 1, dtype=torch.int64)
        return Cases(
            customers=torch.from_numpy(rows),
            known=self._purchases.known.at(at),
            ranking=RankingCases(at, at[:, None], nothing, at[:0], group.sold),
            prior=group.prior,
            popularity=group.popularity,
        )


class RankingNetwork(nn.Module):
    """Scores of all products for one customer, as a function of tensors.

    Args:
        model: The model, whose parameters the scores have.
        scores: The scores.
        group: The products.
        local: The member's local scores; None without any.
    """

    def __init__(
        self, model: nn.Module, scores: CaseScores, group: Group, local: LocalScores | None
    ) -> None:
        super().__init__()
        self.model, self.scores, self.group = model, scores, group
        found = [] if local is None else list(vars(local).values())
        self.local = nn.ModuleList(one for one in found if isinstance(one, nn.Module))

    def forward(self, customer: Tensor, items: Tensor, present: Tensor, baskets: Tensor) -> Tensor:
        """Return float32 [1, I]; see `Graph.inputs` for the arguments."""
        known = OneHistory(self.group.prior[:0], items, present, baskets)
        ranking = RankingCases(customer, items, customer, customer, self.group.sold)
        cases = Cases(customer, known, ranking, self.group.prior, self.group.popularity)
        return self.scores(cases, torch.arange(1))


class OneHistory(Histories):
    """One customer's history that is padded already: items, weights and baskets, [1, K] each."""

    def padded(self, index: Tensor, width: int | None = None) -> tuple[Tensor, Tensor]:
        """See `Histories`."""
        del index, width
        return self.items, self.weights

    def padded_baskets(self, index: Tensor, width: int | None = None) -> Tensor:
        """See `Histories`."""
        del index, width
        return self.baskets


class Bought:
    """What every customer of the data bought, new products included."""

    def __init__(self, lines: Purchases, products: int) -> None:
        self._ids, pairs = histories_of(lines)
        self._all = histories(pairs)
        self._products = products

    def cells(self, ids: Ints) -> Tensor:
        """Return which products each customer bought, bool [m, I]."""
        mask = torch.zeros(len(ids), self._products, dtype=torch.bool)
        place, has = places(self._ids, ids)
        start, element = parts_of(self._all.start, torch.from_numpy(place[has]))
        rows = torch.from_numpy(np.flatnonzero(has)).repeat_interleave(start.diff())
        mask[rows, self._all.items[element].long()] = True
        return mask


def places(known: Ints, ids: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Return where ids are among known ones, int64 [m], and which of them are, bool [m]."""
    if not len(known):
        return np.zeros(len(ids), dtype=np.int64), np.zeros(len(ids), dtype=np.bool_)
    place = np.searchsorted(known, ids).clip(max=len(known) - 1)
    return place, known[place] == ids


def list_frame(
    products: Ints, ids: Ints, basis: np.ndarray[Any, Any], found: torch.return_types.topk
) -> pd.DataFrame:
    """Return lists as a table, without what scores minus infinity.

    Args:
        products: Product ids, int64 [I].
        ids: Customers, int64 [m].
        basis: What each one's list is based on, text [m].
        found: Scores and places of the products of each list, [m, k].
    """
    count = found.values.shape[1]
    shown = (found.values > float("-inf")).numpy().reshape(-1)
    frame = pd.DataFrame(
        {
            "customer": np.repeat(ids, count),
            "rank": np.tile(np.arange(1, count + 1), len(ids)),
            "product": products[found.indices.numpy().reshape(-1)],
            "score": found.values.numpy().reshape(-1).astype(np.float64),
            "basis": np.repeat(basis, count),
        }
    )
    return frame[shown].reset_index(drop=True)


def list_length(k: int | None, candidates: int) -> int:
    """Return the length of the lists.

    Raises:
        InputError: If there are not as many products.
    """
    if k is None:
        return min(_LISTED, candidates)
    if not 1 <= k <= candidates:
        raise InputError(f"k is {k}, but only 1 to {candidates} products can be listed")
    return k


def spread(count: int, most: int) -> Tensor:
    """Return at most so many places among `count`, evenly spaced, int64."""
    return torch.from_numpy(np.unique(np.linspace(0, count - 1, min(most, count)).astype(np.int64)))


def listed_customers(
    cases: Cases, index: Tensor, scores: Tensor, products: Ints
) -> tuple[ListedCustomer, ...]:
    """Return lists before held-out purchases, with the purchase's rank among all competitors.

    Args:
        cases: The cases.
        index: Positions of those that are listed, int64 [B].
        scores: Scores of all products, float32 [B, I].
        products: Product ids, int64 [I].
    """
    positive = cases.ranking.positive[index]
    allowed = cases.ranking.competitors(index)
    allowed[torch.arange(len(index)), positive] = True
    scores = scores.masked_fill(~allowed, float("-inf"))
    ranks = (scores >= scores.gather(1, positive[:, None])).sum(dim=1).tolist()
    orders = scores.argsort(dim=1, descending=True, stable=True)[:, :_LISTED]
    counts = allowed.sum(dim=1).tolist()
    found = []
    for row, place in enumerate(index.tolist()):
        first, last = cases.known.start[place], cases.known.start[place + 1]
        items = cases.known.items[first:last].long()
        latest = cases.known.baskets[first:last].argsort(descending=True, stable=True)[:_BEFORE]
        found.append(
            ListedCustomer(
                before=products[items[latest].numpy()],
                known=len(items),
                listed=products[orders[row, : min(counts[row], _LISTED)].numpy()],
                bought=int(products[positive[row]]),
                rank=ranks[row],
                among=counts[row],
            )
        )
    return tuple(found)
