"""The first trial's newcomer: 20 retailers of 5,000 customers, 2,000 products, one noise.

A customer is a point of 12 dimensions, a product one around a centre of its group (the only public
hierarchy), and 24 purchases are draws by their product and a long tail. Alone is a model of
16 dimensions that predicts one half of the purchases from the other, the best of three learning
rates on validation (from 1,000 customers on of one, .01); the others release factors of products at
delta 1e-6. Served weighs alone, list, groups and taste on the newcomer's validation purchases.

`python benchmarks/newcomer_trial.py [--quick]`
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from factor_sums import learned
from harness import Row, main
from newcomer import with_error
from securefl.ml.eager import Adam
from securefl.ml.metrics.ranking import CUTOFF
from securefl.ml.metrics.score_blending import blend_weights
from securefl.privacy.accounting.calibration import Budget
from securefl.tasks.common.histories import Histories
from securefl.tasks.common.settings import ProfileSettings
from securefl.tasks.recommendation.models.factors import FactorRanker

BOUGHT, LATENT, GROUPS, DIM = 24, 12, 60, 16
EPSILONS = (1.0, 2.0, 4.0, 8.0, math.inf)
OWN = (50, 100, 200, 500, 1_000, 2_000, 5_000)
STEPS = 6
CASES = 2_500


@dataclass(frozen=True)
class Drawn:
    """Purchases int64 [n, 26], of which the last two are held out, and 99 competitors of each."""

    bought: Tensor
    negatives: Tensor
    group: Tensor

    @classmethod
    def of(cls, customers: int, products: int, seed: int) -> Drawn:
        random = torch.Generator().manual_seed(seed)
        common = torch.log(1 / (torch.arange(1, products + 1).float() + 10))
        common = common[torch.randperm(products, generator=random)]
        centres = torch.randn(GROUPS, LATENT, generator=random)
        group = torch.randint(0, GROUPS, (products,), generator=random)
        item = 0.7 * centres[group] + 0.7 * torch.randn(products, LATENT, generator=random)
        bought = torch.empty(customers, BOUGHT + 2, dtype=torch.int64)
        for rows in torch.split(torch.arange(customers), 2_000):
            taste = 0.55 * torch.randn(len(rows), LATENT, generator=random)
            chance = torch.rand(len(rows), products, generator=random)
            first = (common + taste @ item.T - (-chance.log()).log()).topk(BOUGHT + 2, dim=1)
            bought[rows] = first.indices[:, torch.randperm(BOUGHT + 2, generator=random)]
        return cls(bought, torch.randint(0, products, (customers, 99), generator=random), group)

    def histories(self, first: int) -> Histories:
        """All customers from the one at `first` on."""
        rows = self.bought[first:, :BOUGHT]
        start = torch.arange(len(rows) + 1) * BOUGHT
        nothing = torch.zeros(rows.numel(), dtype=torch.int32)
        return Histories(start, rows.reshape(-1).int(), torch.ones(rows.numel()), nothing)

    def candidates(self, rows: slice, column: int) -> Tensor:
        """The held-out product first, int64 [n, 100]."""
        return torch.cat([self.bought[rows, column, None], self.negatives[rows]], dim=1)


class OwnModel(torch.nn.Module):
    """What one retailer trains: a customer is the mean of vectors of what they bought."""

    def __init__(self, products: int) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(1)
        shape = (products, DIM)
        self.read = torch.nn.Parameter(0.1 * torch.randn(shape, generator=random))
        self.write = torch.nn.Parameter(0.1 * torch.randn(shape, generator=random))
        self.bias = torch.nn.Parameter(torch.zeros(products))

    def forward(self, shown: Tensor) -> Tensor:
        code = self.read[shown].sum(dim=1) / math.sqrt(shown.shape[1])
        return code @ self.write.T + self.bias


def gains(scores: Tensor) -> tuple[Tensor, float]:
    """Hits, float64 [n], and the mean of NDCG@10; ties count against."""
    rank = (scores[:, 1:] >= scores[:, :1]).sum(dim=1)
    hit = (rank < CUTOFF).double()
    return hit, float((hit / torch.log2(rank + 2.0)).mean())


def trained(drawn: Drawn, own: int, rate: float) -> tuple[float, Tensor, Tensor]:
    """NDCG@10 on validation, and scores of candidates: validation of its own, and test."""
    model, rows = OwnModel(int(drawn.bought.max()) + 1), drawn.bought[:own, :BOUGHT]
    optimizer = Adam([*model.parameters()], lr=rate)
    random, best, since = torch.Generator().manual_seed(0), (-1.0, *2 * (torch.empty(0),)), 0
    for _ in range(40):
        for index in torch.randperm(own, generator=random).split(min(256, max(16, own // 4))):
            order = torch.rand(len(index), BOUGHT, generator=random).argsort(dim=1)
            shown, hidden = rows[index].gather(1, order).chunk(2, dim=1)
            loss = -model(shown).log_softmax(dim=1).gather(1, hidden).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            found = [
                model(drawn.bought[part, :BOUGHT]).gather(1, drawn.candidates(part, column))
                for part, column in ((slice(own), BOUGHT), (slice(CASES), BOUGHT + 1))
            ]
        value = gains(found[0])[1]
        since = 0 if value > best[0] else since + 1
        best = (value, *found) if not since else best
        if since == 3:
            break
    return best


@torch.no_grad()
def released(model: FactorRanker, drawn: Drawn, part: slice, column: int) -> Tensor:
    """List, groups and taste of candidates, float [n, 100, 3]."""
    bought, candidates = drawn.bought[part, :BOUGHT], drawn.candidates(part, column)
    every = zip(torch.split(bought, 256), torch.split(candidates, 256), strict=True)
    return torch.cat(
        [
            model.parts(rows, torch.ones(rows.shape)).gather(
                1, chosen[:, :, None].expand(-1, -1, 3)
            )
            for rows, chosen in every
        ]
    )


def rows_of(drawn: Drawn, others: int, sizes: tuple[int, ...]) -> Iterator[Row]:
    levels = [torch.zeros_like(drawn.group), drawn.group, drawn.group]
    models = {}
    for epsilon in EPSILONS:
        torch.manual_seed(1)
        budget = None if math.isinf(epsilon) else Budget(epsilon, 1e-6)
        empty = FactorRanker(ProfileSettings(), levels, len(drawn.group))
        models[epsilon] = learned(empty, [drawn.histories(others)], budget, STEPS)
    tests = {e: released(m, drawn, slice(CASES), BOUGHT + 1) for e, m in models.items()}
    for own in sizes:
        rates = (0.003, 0.01, 0.03) if own < 1_000 else (0.01,)
        found = (trained(drawn, own, rate) for rate in rates)
        _, validation, test = max(found, key=lambda one: one[0])
        alone = gains(test)[0]
        for epsilon, model in models.items():
            parts = torch.cat(
                [validation[:, :, None], released(model, drawn, slice(own), BOUGHT)], dim=2
            )
            weights = blend_weights(parts, torch.ones(parts.shape[:2], dtype=torch.bool))
            both = torch.cat([test[:, :, None], tests[epsilon]], dim=2).double()
            served = gains(both @ weights)[0]
            row = {"alone": round(float(alone.mean()), 4)}
            row |= with_error("released", gains(tests[epsilon].sum(dim=2))[0])
            row |= with_error("served", served) | with_error("served - alone", served - alone)
            yield Row(f"epsilon {epsilon:g}, {own:,} own customers", row)


def benchmark(quick: bool) -> list[Row]:
    retailer, retailers, products = (500, 4, 300) if quick else (5_000, 20, 2_000)
    drawn = Drawn.of(retailer * retailers, products, seed=0)
    return [*rows_of(drawn, retailer, (50, 100) if quick else OWN)]


if __name__ == "__main__":
    main(__doc__.splitlines()[0], benchmark)
