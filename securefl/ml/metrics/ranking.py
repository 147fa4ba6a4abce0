"""How far up a held-out purchase is ranked: HR@10 and NDCG@10, sampled, full and expected.

A held-out product's rank is the number of competitors that score at least as much: ties count
against the model, so that a constant score earns nothing. With one relevant product, the hit rate
is the share of ranks below 10, and NDCG@10 is the mean of `1 / log2(rank + 2)` over those hits and
0 elsewhere (He et al. 2017, section 4.1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from securefl.ml.metrics.sums import MetricSums, Ratio
from securefl.ml.metrics.unit_sums import UnitSums

CUTOFF = 10
"""Length of the list in which the held-out product has to be."""

METRICS = ("ndcg@10_expected", "hr@10", "ndcg@10", "hr@10_full", "ndcg@10_full")
"""Names of the ranking metrics."""

_CHUNK = 256

Scores = Callable[[Tensor], Tensor]
"""Positions of cases, int64 [B], to the scores of all products, float [B, I]."""


@dataclass(frozen=True)
class RankingCases:
    """Held-out purchases of one retailer, one a customer.

    Attributes:
        positive: The held-out product, int64 [n].
        negatives: Sampled products that the customer never bought, int64 [n, k]; -1 is no product.
        bought_start: Where each customer's part of `bought` begins, int64 [n + 1].
        bought: All products that each customer bought in the whole period, int32 or int64 [Q].
        sold: Which products the retailer sells, bool [I].
    """

    positive: Tensor
    negatives: Tensor
    bought_start: Tensor
    bought: Tensor
    sold: Tensor

    def at(self, rows: Tensor) -> RankingCases:
        """Return some of the cases, in the order of `rows`, int64 [m]."""
        start, place = parts_of(self.bought_start, rows)
        return RankingCases(
            self.positive[rows], self.negatives[rows], start, self.bought[place], self.sold
        )

    def competitors(self, index: Tensor) -> Tensor:
        """Return what the retailer sells and the customers at `index` never bought, bool [B, I]."""
        mask = self.sold.expand(len(index), -1).clone()
        start = self.bought_start[index]
        count = self.bought_start[index + 1] - start
        row = torch.repeat_interleave(torch.arange(len(index)), count)
        before = (count.cumsum(dim=0) - count)[row]
        mask[row, self.bought[start[row] + torch.arange(len(row)) - before]] = False
        return mask


def parts_of(start: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return some of the parts of a sequence that begin at `start`, int64 [n + 1].

    Returns:
        Where the parts at `rows` (int64 [m]) begin when laid end to end, int64 [m + 1], and where
        each of their elements is now.
    """
    lengths = start.diff()[rows]
    begin = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    owner = torch.repeat_interleave(torch.arange(len(rows)), lengths)
    return begin, start[rows][owner] + torch.arange(len(owner)) - begin[owner]


def ranking_tally(scores: Scores, cases: RankingCases) -> MetricSums:
    """Return all ranking metrics of one retailer's cases.

    `hr@10` and `ndcg@10` rank against the sampled negatives, `*_full` against all competitors.
    `ndcg@10_expected` is the mean of `ndcg@10` over all ways to draw the negatives: the same
    quantity without the luck of the draw, which makes it the better judge on validation.
    """
    sums = torch.zeros(5, dtype=torch.float64)
    for first in range(0, len(cases.positive), _CHUNK):
        index = torch.arange(first, min(first + _CHUNK, len(cases.positive)))
        sums += torch.stack(gains(scores(index), cases, index)).sum(dim=1)
    count = float(len(cases.positive))
    return MetricSums({n: Ratio(v, count) for n, v in zip(METRICS, sums.tolist(), strict=True)})


def listed_and_gained(scores: Scores, cases: RankingCases) -> tuple[Tensor, Tensor]:
    """Return in how many lists each product stands, int64 [I], and each case's gain, float64 [n].

    A list has the `CUTOFF` products of the highest scores among all competitors and the held-out
    purchase itself: it is what the customer would have been shown before it. The gain is
    `ndcg@10_expected`.
    """
    counts, gained = torch.zeros(len(cases.sold), dtype=torch.int64), [torch.zeros(0).double()]
    for first in range(0, len(cases.positive), _CHUNK):
        index = torch.arange(first, min(first + _CHUNK, len(cases.positive)))
        found, allowed = scores(index), cases.competitors(index)
        gained.append(gains(found, cases, index)[0])
        allowed[torch.arange(len(index)), cases.positive[index]] = True
        best = found.masked_fill(~allowed, float("-inf")).topk(min(CUTOFF, found.shape[1]), dim=1)
        counts += torch.bincount(best.indices[best.values > float("-inf")], minlength=len(counts))
    return counts, torch.cat(gained)


def same_for_all(scores: Tensor, index: Tensor) -> Tensor:
    """Return one list of scores, [I], for every case at `index`, [B, I]."""
    return scores.expand(len(index), -1)


def gains(scores: Tensor, cases: RankingCases, index: Tensor) -> list[Tensor]:
    """Return each metric of each case, float64 [B] each, in the order of `METRICS`.

    Args:
        scores: Scores of all products for the cases at `index`, float [B, I].
        cases: The held-out purchases.
        index: Positions of cases, int64 [B].
    """
    positive = scores.gather(1, cases.positive[index, None])
    negatives = cases.negatives[index]
    ahead = (scores.gather(1, negatives.clamp(min=0)) >= positive) & (negatives >= 0)
    competitors = cases.competitors(index)
    ahead_full = ((scores >= positive) & competitors).sum(dim=1)
    drawn = (negatives >= 0).sum(dim=1)
    sampled, full = _discounted(ahead.sum(dim=1)), _discounted(ahead_full)
    expected = expected_gain(ahead_full, competitors.sum(dim=1), drawn)
    return [expected, *sampled, *full]


def _discounted(rank: Tensor) -> tuple[Tensor, Tensor]:
    """Return hit and discounted gain of 0-based ranks, float64 [B] each."""
    hit = (rank < CUTOFF).to(torch.float64)
    return hit, hit / torch.log2(rank.to(torch.float64) + 2)


def expected_gain(ahead: Tensor, competitors: Tensor, drawn: Tensor) -> Tensor:
    """Expected NDCG@10 if `drawn` of the `competitors` are sampled, `ahead` of which rank higher.

    The number of sampled ones ahead is hypergeometric, so that the expectation is
    `sum_r C(a, r) C(m - a, d - r) / C(m, d) / log2(r + 2)` over `r < 10`.

    Args:
        ahead: Competitors that score at least as much, int64 [B].
        competitors: All competitors, int64 [B].
        drawn: How many of them are sampled without replacement, int64 [B].

    Returns:
        The expectation, float64 [B].
    """
    mass = _rank_mass(ahead, competitors, drawn)
    return (mass / torch.log2(torch.arange(CUTOFF, dtype=torch.float64) + 2)).sum(dim=1)


def expected_hit(ahead: Tensor, competitors: Tensor, drawn: Tensor) -> Tensor:
    """Expected HR@10 of the same draws, float64 [B]; see `expected_gain`."""
    return _rank_mass(ahead, competitors, drawn).sum(dim=1)


def _rank_mass(ahead: Tensor, competitors: Tensor, drawn: Tensor) -> Tensor:
    """Return the probabilities of the ranks below the cutoff, float64 [B, 10]."""
    a, m, d = (part.to(torch.float64)[:, None] for part in (ahead, competitors, drawn))
    r = torch.arange(CUTOFF, dtype=torch.float64)[None, :]
    possible = (r <= a) & (r <= d) & (d - r <= m - a)
    log_mass = _log_choose(a, r) + _log_choose(m - a, d - r) - _log_choose(m, d)
    return torch.where(possible, torch.exp(log_mass), 0.0)


def ranking_units(scores: Scores, cases: RankingCases) -> UnitSums:
    """Return what each customer adds to `hr@10` and `ndcg@10`, where no customer touches another.

    A case competes with products sampled from the whole agreed assortment, and not from what the
    retailer sells: one customer can be the only buyer of a product. The two metrics are expected
    over all such samples. Customers are scored one at a time, because a row of a batch may differ
    in its last bit with the rows beside it.
    """
    rows = [_unit_gains(scores, cases, index) for index in torch.arange(len(cases.positive))]
    hit, gain = torch.tensor(rows, dtype=torch.float64).reshape(-1, 2).T.numpy()
    return UnitSums({"hr@10": hit, "ndcg@10": gain}, {"cases": np.ones(len(rows))})


def _unit_gains(scores: Scores, cases: RankingCases, place: Tensor) -> tuple[float, float]:
    """Return expected hit and gain of the case at one place."""
    index = place[None]
    found = scores(index)[0]
    competes = torch.ones(len(found), dtype=torch.bool)
    competes[cases.bought[cases.bought_start[place] : cases.bought_start[place + 1]]] = False
    ahead = (~(found < found[cases.positive[place]]) & competes).sum()[None]
    competitors = competes.sum()[None]
    drawn = competitors.clamp(max=cases.negatives.shape[1])
    draws = (ahead, competitors, drawn)
    return float(expected_hit(*draws)), float(expected_gain(*draws))


def _log_choose(n: Tensor, k: Tensor) -> Tensor:
    """Return `log C(n, k)`; meaningless where `k` is outside 0..n, which the caller masks."""
    return (
        torch.lgamma(n + 1)
        - torch.lgamma(k.clamp(min=0) + 1)
        - torch.lgamma((n - k).clamp(min=0) + 1)
    )
