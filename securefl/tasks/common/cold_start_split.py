"""Cold-start split: products that count as new, held out of training and ranked among themselves.

A hash of the product ids selects them, so that no customer's data influence the selection. Their
purchases are removed from all training data and from all known histories. A cold-start case is the
first such product that a customer bought after everything that is known of them at that time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from securefl.ml.metrics.ranking import RankingCases, parts_of
from securefl.ml.metrics.spec import Split
from securefl.tasks.common.purchase_lines import CustomerItems, Ints, Purchases, pair_hash
from securefl.tasks.common.ranking_examples import PRIOR_FLOOR, Cases, RetailerCases
from securefl.tasks.common.splits import Buyers, HeldOut, sample_negatives

Floats = npt.NDArray[np.float64]

_NO_CUSTOMER: Final = -7
"""Stands for the customer where products alone are hashed; it is no customer's id."""
_HASH_RANGE: Final = 1 << 16
"""Resolution of a share that a hash decides."""


def cold_start_products(products: Ints, share: float) -> Tensor:
    """Return which products count as new, bool [I]: about `share` of them."""
    hashed = pair_hash(np.full(len(products), _NO_CUSTOMER), products) % np.uint64(_HASH_RANGE)
    return torch.from_numpy(hashed < np.uint64(share * _HASH_RANGE))


@dataclass(frozen=True)
class ColdStartSales:
    """First purchases of new products by the customers of one retailer's split.

    Attributes:
        customer: Customer ids, int64 [P].
        row: The same as rows of the split, int64 [P]; ascending, with `item` within.
        item: Products, int64 [P].
        time: Time of each first purchase, int64 [P].
    """

    customer: Ints
    row: Ints
    item: Ints
    time: Ints

    @classmethod
    def of(cls, lines: Purchases, cut: HeldOut) -> ColdStartSales:
        """Build them from the lines of new products alone."""
        own = lines.at(np.isin(lines.customer, cut.customers))
        row = np.searchsorted(cut.customers, own.customer)
        order = np.lexsort((own.time, own.item, row))
        row, own = row[order], own.at(order)
        first = np.ones(len(row), dtype=np.bool_)
        first[1:] = (np.diff(row) != 0) | (np.diff(own.item) != 0)
        return cls(own.customer[first], row[first], own.item[first], own.time[first])

    def within(self, after: Ints, until: Ints) -> tuple[Ints, Ints]:
        """Return customers' rows, and the first product of each within their own time span."""
        inside = (self.time > after[self.row]) & (self.time <= until[self.row])
        row, item, time = self.row[inside], self.item[inside], self.time[inside]
        order = np.lexsort((item, pair_hash(self.customer[inside], item), time, row))
        rows, first = np.unique(row[order], return_index=True)
        return rows, item[order][first]


def cold_start_cases(
    warm: RetailerCases, lines: Purchases, cold: Tensor, alike: Tensor
) -> Mapping[Split, Cases]:
    """Return the cold-start cases of one retailer by split.

    Args:
        warm: The retailer's purchases of other products, split.
        lines: Its purchases of new products.
        cold: Which products are new, bool [I].
        alike: A public code of each product, int64 [I]; expected sales of a new product are the
            mean of the known products with the same code.
    """
    sales = ColdStartSales.of(lines, warm.cut)
    trained, known = (part.latest(warm.customers) for part in (warm.cut.training, warm.cut.known))
    end = np.full(warm.customers, np.iinfo(np.int64).max)
    spans: Mapping[Split, tuple[Ints, Ints]] = {
        "validation": (trained, known),
        "test": (known, end),
    }
    found = warm.cases()
    sold = np.unique(lines.item)
    return {
        split: _ColdStart(found[split], warm, sales, sold, cold, alike).cases(*span, stream)
        for stream, (split, span) in enumerate(spans.items(), start=2)
    }


@dataclass(frozen=True)
class _ColdStart:
    """One split's cases of known products, from which those of new ones are derived."""

    warm: Cases
    retailer: RetailerCases
    sales: ColdStartSales
    sold: Ints
    cold: Tensor
    alike: Tensor

    def cases(self, after: Ints, until: Ints, stream: int) -> Cases:
        rows, positive = self.sales.within(after, until)
        chosen = torch.from_numpy(rows)
        expected = self._expected(self.warm.popularity)
        recent = self._expected((self.warm.prior / self.retailer.settings.prior).exp())
        return Cases(
            customers=chosen,
            known=self.warm.known.at(chosen),
            ranking=self._ranking(rows, positive, stream),
            prior=self.retailer.settings.prior * recent.clamp(min=PRIOR_FLOOR).log(),
            popularity=expected,
        )

    def _ranking(self, rows: Ints, positive: Ints, stream: int) -> RankingCases:
        start = np.searchsorted(self.sales.row, np.arange(self.retailer.customers + 1))
        begin, found = parts_of(torch.from_numpy(start), torch.from_numpy(rows))
        place = found.numpy()
        whole = self.retailer.cut
        # Competitors must not be products that the customer bought: of new ones, in any split.
        bought = CustomerItems(begin.numpy(), self.sales.item[place].astype(np.int32))
        cut = Buyers(whole.customers[rows], bought)
        negatives = sample_negatives(cut, self.sold, self.retailer.settings.negatives, stream)
        return RankingCases(
            positive=torch.from_numpy(positive),
            negatives=torch.from_numpy(negatives),
            bought_start=begin,
            bought=torch.from_numpy(bought.item),
            sold=torch.from_numpy(np.isin(np.arange(len(self.cold)), self.sold)),
        )

    def _expected(self, sales: Tensor) -> Tensor:
        """Return sales by product, float32 [I]; a new one has the mean of its code's known ones."""
        known = ~self.cold
        size = int(self.alike.max()) + 1
        sums = torch.zeros(size).index_add_(0, self.alike[known], sales[known])
        counts = torch.zeros(size).index_add_(0, self.alike[known], torch.ones(int(known.sum())))
        return torch.where(self.cold, (sums / counts.clamp(min=1))[self.alike], sales)
