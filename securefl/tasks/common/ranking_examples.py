"""Weighted histories, popularity prior and held-out cases of one retailer's split purchases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from securefl.ml.metrics.ranking import RankingCases
from securefl.ml.metrics.spec import Split
from securefl.tasks.common.histories import CustomerExamples, Histories
from securefl.tasks.common.settings import RecommendationSettings
from securefl.tasks.common.splits import (
    HeldOut,
    Pairs,
    Purchases,
    hold_out,
    hold_out_dated,
    sample_negatives,
)

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_DAY: Final = 86_400 * 10**9
_LEAST_WEIGHT: Final = 1e-200
"""Stands for a weight of 0 where something is divided by a sum of weights."""
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
    product = transactions["product"].to_numpy()
    chosen = (transactions["customer"].to_numpy() >= 0) & (product >= 0)
    chosen &= np.isin(product, products)
    return Purchases(
        customer=transactions["customer"].to_numpy()[chosen].astype(np.int64),
        item=np.searchsorted(products, product[chosen].astype(np.int64)),
        basket=transactions["basket"].to_numpy()[chosen].astype(np.int64),
        time=transactions["time"].to_numpy()[chosen].astype("datetime64[ns]").astype(np.int64),
    )


def known_lines(transactions: pd.DataFrame) -> pd.DataFrame:
    """Return the lines of a known customer and a listed product; the schema has -1 for others."""
    return transactions[(transactions["customer"] >= 0) & (transactions["product"] >= 0)]


def nanoseconds(times: pd.Series) -> Ints:
    """Return times as int64 nanoseconds since 1970, independent of the column's resolution."""
    return times.to_numpy("datetime64[ns]").astype(np.int64)


class RetailerCases:
    """One retailer's purchases, split and laid out for training and evaluation.

    Args:
        purchases: The retailer's lines.
        products: Number of products I of the assortment.
        end: The last moment of the agreed period, in ns since 1970.
        settings: Settings of the split.
    """

    def __init__(
        self, purchases: Purchases, products: int, end: int, settings: RecommendationSettings
    ) -> None:
        self.cut: HeldOut
        if settings.held_out_days is None:
            self.cut = hold_out(purchases, settings.min_products)
        else:
            window = settings.held_out_days * _DAY
            # Ages count from the day on which training ends, which is the present of this split.
            end = end - 2 * window
            self.cut = hold_out_dated(purchases, settings.min_products, end, window)
        self.sold: Ints = np.unique(purchases.item)
        self.products = products
        self.settings = settings
        # A purchase after the agreed end would have a weight without bound.
        self.ages: Floats = np.maximum(end - self.cut.training.time, 0) / _DAY
        self.weights: Floats = self.recency(settings.recency_days) + settings.recency_floor

    @property
    def customers(self) -> int:
        """Number n of customers in training and evaluation."""
        return len(self.cut.customers)

    def recency(self, days: float) -> Floats:
        """Return weights of the training pairs that fall to 1/e in so many days, float64 [P]."""
        weights: Floats = np.exp(-self.ages / days)
        return weights

    def recent_examples(self, days: float) -> CustomerExamples:
        """Return the customers as examples with these weights, which no other customer moves."""
        return CustomerExamples(
            histories=self._histories(self.cut.training, self.recency(days)),
            home=torch.zeros(self.customers, dtype=torch.int64),
            prior=torch.zeros(1, 0),
        )

    def examples(self) -> CustomerExamples:
        """Return the customers as examples whose weights sum to 1 on average over customers.

        The common scale and the prior depend on all customers: for training without a budget only.
        """
        scale = self.customers / max(self.weights.sum(), _LEAST_WEIGHT)
        return CustomerExamples(
            histories=self._histories(self.cut.training, self.weights * scale),
            home=torch.zeros(self.customers, dtype=torch.int64),
            prior=self._prior()[None],
        )

    def separate_examples(self) -> CustomerExamples:
        """Return the customers as examples that are independent of each other; weights sum to 1."""
        row = self.cut.training.row
        # Without a floor old purchases weigh nothing, and a customer with no other would be 0 / 0.
        weights = np.maximum(self.weights, _LEAST_WEIGHT)
        sums = np.bincount(row, weights, minlength=self.customers)
        return CustomerExamples(
            histories=self._histories(self.cut.training, weights / sums[row]),
            home=torch.zeros(self.customers, dtype=torch.int64),
            prior=torch.zeros(1, 0),
        )

    def cases(self) -> Mapping[Split, Cases]:
        """Return the held-out purchases by split."""
        return {
            "validation": self._cases(self.cut.training, self.cut.validation, stream=0),
            "test": self._cases(self.cut.known, self.cut.test, stream=1),
        }

    def _cases(self, known: Pairs, positive: Ints, stream: int) -> Cases:
        cut, count = self.cut, self.settings.negatives
        ones = np.ones(len(cut.training.item))
        return Cases(
            customers=torch.arange(self.customers),
            known=self._histories(known, np.ones(len(known.item))),
            ranking=RankingCases(
                positive=torch.from_numpy(positive),
                negatives=torch.from_numpy(sample_negatives(cut, self.sold, count, stream)),
                bought_start=self._starts(cut.bought),
                bought=torch.from_numpy(cut.bought.item),
                sold=torch.from_numpy(np.bincount(self.sold, minlength=self.products) > 0),
            ),
            prior=self._prior(),
            popularity=torch.from_numpy(self._summed(ones)).float(),
        )

    def _prior(self) -> Tensor:
        """Return the scaled logarithm of each product's recent share of sales, float32 [I]."""
        recent = self._summed(self.weights)
        share = recent / max(recent.mean(), _LEAST_WEIGHT)
        return torch.from_numpy(self.settings.prior * np.log(share + PRIOR_FLOOR)).float()

    def _summed(self, weights: Floats) -> Floats:
        """Return the sum of the training pairs' weights by product, float64 [I]."""
        summed = np.bincount(self.cut.training.item, weights, minlength=self.products)
        return summed.astype(np.float64)

    def _histories(self, pairs: Pairs, weights: Floats) -> Histories:
        return histories(pairs, weights, self.customers)

    def _starts(self, pairs: Pairs) -> Tensor:
        return _starts(pairs, self.customers)


def histories(pairs: Pairs, weights: Floats, customers: int) -> Histories:
    """Return pairs with their weights, float64 [P], as the histories of rows 0..customers-1."""
    return Histories(
        start=_starts(pairs, customers),
        items=torch.from_numpy(pairs.item.astype(np.int32)),
        weights=torch.from_numpy(weights.astype(np.float32)),
        baskets=torch.from_numpy(pairs.basket.astype(np.int32)),
    )


def _starts(pairs: Pairs, customers: int) -> Tensor:
    return torch.from_numpy(np.searchsorted(pairs.row, np.arange(customers + 1)))
