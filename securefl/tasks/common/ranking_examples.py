"""Weighted histories, popularity prior and held-out cases of one retailer's split purchases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from securefl.data.grouping import grouped
from securefl.data.paged import Spool, blocks, release
from securefl.data.tables import RetailerTables
from securefl.data.threads import by_threads
from securefl.ml.metrics.ranking import RankingCases
from securefl.ml.metrics.spec import Split
from securefl.tasks.common.histories import CustomerExamples, Histories
from securefl.tasks.common.purchase_lines import Pairs, Purchases
from securefl.tasks.common.settings import RecommendationSettings
from securefl.tasks.common.splits import HeldOut, hold_out, hold_out_dated, sample_negatives

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_DAY: Final = 86_400 * 10**9
_LEAST_WEIGHT: Final = 1e-200
"""Stands for a weight of 0 where something is divided by a sum of weights."""
_TABLE: Final = 1 << 22
PRIOR_FLOOR: Final = 0.1
"""Added to a product's share of sales, in units of the mean product's, before the logarithm."""


@dataclass(frozen=True)
class Cases:
    """One retailer's held-out purchases, and what is known before each of them.

    Attributes:
        customers: Rows of the customers in the party's model, int64 [n].
        known: Earlier purchases of each.
        ranking: The held-out purchases and their competitors.
        prior: The retailer's fixed part of the scores, from its own popularity, float32 [I].
        popularity: Customers who bought each product in training, float32 [I].
    """

    customers: Tensor
    known: Histories
    ranking: RankingCases
    prior: Tensor
    popularity: Tensor

    def at(self, rows: Tensor) -> Cases:
        """Return some of the cases, in the order of `rows`, int64 [m]."""
        return replace(
            self,
            customers=self.customers[rows],
            known=self.known.at(rows),
            ranking=self.ranking.at(rows),
        )

    def after(self, customers: int) -> Cases:
        """Shift the customer rows by `customers`, the rows of the retailers before."""
        return replace(self, customers=self.customers + customers)


def purchases_of(transactions: pd.DataFrame, products: Ints) -> Purchases:
    """Return the lines of products in the assortment (int64 [I], ascending), products as rows."""
    # One column after the other: a selection of the table would copy all of it.
    item = _rows_of(transactions["product"].to_numpy(), products)
    chosen = np.flatnonzero((transactions["customer"].to_numpy() >= 0) & (item >= 0))
    return Purchases(
        customer=transactions["customer"].to_numpy()[chosen].astype(np.int64),
        item=item[chosen].astype(np.int64),
        basket=transactions["basket"].to_numpy()[chosen].astype(np.int64),
        time=transactions["time"].to_numpy()[chosen].astype("datetime64[ns]").astype(np.int64),
    )


def _rows_of(product: npt.NDArray[Any], products: Ints) -> npt.NDArray[np.signedinteger[Any]]:
    """Return the place of each product [n] among those of an assortment, [n]; -1 where it is not.

    Numbers of few digits are looked up in a table, which takes a tenth of a search's time.
    """
    if not len(products) or not len(product):
        return np.full(len(product), -1, dtype=np.int64)
    last = int(products[-1])
    if products[0] >= 0 and last < _TABLE:
        table = np.full(last + 3, -1, dtype=np.int32)
        table[products + 1] = np.arange(len(products))
        places: npt.NDArray[np.int32] = table[np.clip(product, -1, last + 1) + 1]
        return places
    found = np.minimum(np.searchsorted(products, product.astype(np.int64)), len(products) - 1)
    return np.where(products[found] == product, found, -1)


def known_lines(transactions: pd.DataFrame) -> pd.DataFrame:
    """Return the lines of a known customer and a listed product; the schema has -1 for others."""
    return transactions[(transactions["customer"] >= 0) & (transactions["product"] >= 0)]


def last_moment(times: pd.Series) -> int:
    """Return the last time in nanoseconds since 1970; the smallest int64 where there is none."""
    values = times.to_numpy()
    latest = [values[span].max() for span in blocks(len(values))]
    moments = np.array(latest, dtype="datetime64[ns]").astype(np.int64)
    return int(moments.max(initial=np.iinfo(np.int64).min))


def customer_parts(tables: RetailerTables) -> Iterator[RetailerTables]:
    """Yield a retailer's lines of known customers, all of some customers at a time.

    Ids ascend from part to part, and there are at least as many lines in memory as the largest
    customer has. No part is empty; there may be none.
    """
    lines = tables.transactions
    columns = {name: lines[name].to_numpy() for name in ("customer", "product", "basket", "time")}
    for part in grouped([columns], "customer", least=0):
        yield replace(tables, transactions=pd.DataFrame(part, copy=False))


class RetailerCases:
    """One retailer's purchases, split and laid out for training and evaluation.

    Args:
        purchases: The retailer's lines, in parts such as those of `customer_parts`.
        products: Number of products I of the assortment.
        end: The last moment of the agreed period, in ns since 1970.
        settings: Settings of the split.
    """

    def __init__(
        self,
        purchases: Iterable[Purchases],
        products: int,
        end: int,
        settings: RecommendationSettings,
    ) -> None:
        # Ages count from the day on which training ends, which is the present of this split.
        window = settings.held_out_days
        end = end if window is None else end - 2 * window * _DAY
        sold = np.full(products, settings.offered == "assortment")

        def cut(part: Purchases) -> HeldOut:
            sold[part.item] = True
            return _split(part, settings, end)

        self.cut: HeldOut = HeldOut.joined(by_threads(cut, purchases))
        self.sold: Ints = np.flatnonzero(sold)  # or offered: `RecommendationSettings.offered`
        self.products = products
        self.settings = settings
        self._end = end

        self._laid_out: dict[float | None, CustomerExamples] = {}
        self._found_prior: Tensor | None = None

    @property
    def customers(self) -> int:
        """Number n of customers in training and evaluation."""
        return len(self.cut.customers)

    @property
    def weights(self) -> Floats:
        """Weights of the training pairs by age, float64 [P], computed anew."""
        return self._by_age(self.settings.recency_days, self.settings.recency_floor)

    def _by_age(self, days: float, floor: float = 0.0) -> Floats:
        """Return weights of the training pairs that fall to 1/e in so many days, float64 [P]."""
        time, end = self.cut.training.time, self._end

        def weights(span: slice) -> Floats:
            # A purchase after the agreed end would have a weight without bound.
            age = np.maximum(end - time[span], 0) / _DAY
            return np.asarray(np.exp(-age / days) + floor)

        return _computed(np.float64, weights, time)

    def recent_examples(self, days: float) -> CustomerExamples:
        """Return the customers as examples with these weights, which no other customer moves."""
        if days not in self._laid_out:
            self._laid_out[days] = self._recent_examples(days)
        return self._laid_out[days]

    def _recent_examples(self, days: float) -> CustomerExamples:
        weights = self._by_age(days)
        narrow = _computed(np.float32, lambda span: weights[span], weights)
        return CustomerExamples(
            histories=histories(self.cut.training, torch.from_numpy(narrow)),
            home=torch.zeros(self.customers, dtype=torch.int64),
            prior=torch.zeros(1, 0),
        )

    def examples(self) -> CustomerExamples:
        """Return the customers as examples whose weights sum to 1 on average over customers.

        The common scale and the prior depend on all customers: for training without a budget only.
        Parts of a blend share them.
        """
        if None not in self._laid_out:
            self._laid_out[None] = self._examples()
        return self._laid_out[None]

    def _examples(self) -> CustomerExamples:
        weights = self.weights
        scale = self.customers / max(weights.sum(), _LEAST_WEIGHT)
        release()
        scaled = _computed(np.float32, lambda span: weights[span] * scale, weights)
        return CustomerExamples(
            histories=histories(self.cut.training, torch.from_numpy(scaled)),
            home=torch.zeros(self.customers, dtype=torch.int64),
            prior=self._prior(weights)[None],
        )

    def separate_examples(self) -> CustomerExamples:
        """Return the customers as examples that are independent of each other; weights sum to 1."""
        row = self.cut.training.row
        # Without a floor old purchases weigh nothing, and a customer with no other would be 0 / 0.
        weights = np.maximum(self.weights, _LEAST_WEIGHT)
        sums = np.bincount(row, weights, minlength=self.customers)
        return CustomerExamples(
            histories=histories(
                self.cut.training, torch.from_numpy((weights / sums[row]).astype(np.float32))
            ),
            home=torch.zeros(self.customers, dtype=torch.int64),
            prior=torch.zeros(1, 0),
        )

    def cases(self) -> Mapping[Split, Cases]:
        """Return the held-out purchases by split, each laid out when it is first asked for."""
        return _Splits(self)

    def cases_of(self, split: Split) -> Cases:
        """Return the held-out purchases of one split."""
        if split == "validation":
            return self._cases(self.cut.training, self.cut.validation, stream=0)
        return self._cases(self.cut.known, self.cut.test, stream=1)

    def _cases(self, known: Pairs, positive: Ints, stream: int) -> Cases:
        cut, count = self.cut, self.settings.negatives
        return Cases(
            customers=torch.arange(self.customers),
            known=histories(known),
            ranking=RankingCases(
                positive=torch.from_numpy(positive),
                negatives=torch.from_numpy(sample_negatives(cut, self.sold, count, stream)),
                bought_start=torch.from_numpy(cut.bought.start),
                bought=torch.from_numpy(cut.bought.item),
                sold=torch.from_numpy(np.bincount(self.sold, minlength=self.products) > 0),
            ),
            prior=self._prior(None),
            popularity=torch.from_numpy(self._summed(None)).float(),
        )

    def _prior(self, weights: Floats | None) -> Tensor:
        """Return the scaled logarithm of each product's recent share of sales, float32 [I].

        Args:
            weights: `self.weights`, where they are at hand.
        """
        if self._found_prior is None:
            recent = self._summed(self.weights if weights is None else weights)
            share = recent / max(recent.mean(), _LEAST_WEIGHT)
            scaled = self.settings.prior * np.log(share + PRIOR_FLOOR)
            self._found_prior = torch.from_numpy(scaled).float()
        return self._found_prior

    def _summed(self, weights: Floats | None) -> Floats:
        """Return the sum of the training pairs' weights, or of ones, by product, float64 [I]."""
        items = self.cut.training.item
        summed = np.zeros(self.products)
        for span in blocks(len(items)):
            # One after the other into the same sums, as over all pairs at once.
            np.add.at(summed, items[span], 1.0 if weights is None else weights[span])
        return summed


class _Splits(Mapping[Split, Cases]):
    """A retailer's cases by split: competitors of 10^6 customers take minutes to sample."""

    def __init__(self, retailer: RetailerCases) -> None:
        self._retailer = retailer
        self._found: dict[Split, Cases] = {}

    def __getitem__(self, split: Split) -> Cases:
        if split not in _SPLITS:
            raise KeyError(split)
        if split not in self._found:
            self._found[split] = self._retailer.cases_of(split)
        return self._found[split]

    def __iter__(self) -> Iterator[Split]:
        return iter(_SPLITS)

    def __len__(self) -> int:
        return len(_SPLITS)

    def __reduce__(self) -> tuple[type[dict[Split, Cases]], tuple[dict[Split, Cases]]]:
        # A process of its own gets the cases alone.
        return dict, (dict(self),)


_SPLITS: Final[tuple[Split, ...]] = ("validation", "test")


def histories(pairs: Pairs, weights: Tensor | None = None) -> Histories:
    """Return pairs as histories of their customer rows.

    Args:
        pairs: The pairs.
        weights: Their weights, float32 [P]; without, each is 1, and all are one number in memory.
    """
    return Histories(
        start=torch.from_numpy(pairs.start),
        items=torch.from_numpy(pairs.item),
        weights=torch.ones(1).expand(len(pairs.item)) if weights is None else weights,
        baskets=torch.from_numpy(pairs.basket),
    )


def _split(lines: Purchases, settings: RecommendationSettings, end: int) -> HeldOut:
    """Split lines by each customer's own baskets, or at the same moments for all, from `end` on."""
    if settings.held_out_days is None:
        return hold_out(lines, settings.min_products)
    return hold_out_dated(lines, settings.min_products, end, settings.held_out_days * _DAY)


def _computed(
    dtype: npt.DTypeLike, compute: Callable[[slice], Floats], like: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """Return what is computed of spans of an array, [n], block by block; see `paged`."""
    with Spool({"found": dtype}) as spool:
        for part in by_threads(compute, blocks(len(like))):
            spool.append({"found": part.astype(dtype)})
        return spool.columns()["found"]
