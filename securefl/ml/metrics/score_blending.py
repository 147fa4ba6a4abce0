"""How several scores become one: weights chosen on a retailer's own validation purchases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from securefl.ml.metrics.ranking import RankingCases, Scores

SHARES: Final = tuple(share / 10 for share in range(11))
"""How much of the shared model may be in what is served; 0 is first and wins a tie."""


def best_share(error: Callable[[float], float]) -> float:
    """The share with the least error; 0 where none is better than the retailer's own model."""
    return min(SHARES, key=error)


_STEPS = 25
_NEGLIGIBLE = 1e-10
"""A likelihood that grows by no more has reached its top."""
_RIDGE = 1e-3
_CHUNK = 256
_CASES = 10_000
"""So many cases fix a handful of weights; more would only take time and memory."""


def chosen_weights(parts: Scores, ranking: RankingCases) -> Tensor:
    """Return the weights of `blend_weights` on held-out purchases and their sampled competitors.

    Args:
        parts: Positions of cases, int64 [B], to the parts of all products' scores, [B, I, P].
        ranking: The held-out purchases.
    """
    cases = torch.arange(len(ranking.positive))
    if len(cases) > _CASES:
        cases = torch.linspace(0, len(cases) - 1, _CASES, dtype=torch.float64).long()
    candidates = torch.cat([ranking.positive[:, None], ranking.negatives], dim=1)[cases]
    found = []
    for index, chosen in zip(
        torch.split(cases, _CHUNK), torch.split(candidates.clamp(min=0), _CHUNK), strict=True
    ):
        scores = parts(index)
        found.append(scores.gather(1, chosen[:, :, None].expand(-1, -1, scores.shape[2])))
    return blend_weights(torch.cat(found), candidates >= 0)


def blend_weights(parts: Tensor, valid: Tensor) -> Tensor:
    """Return weights under which held-out products stand out among their competitors.

    Maximises the conditional likelihood of the held-out product (McFadden 1974) over weights that
    are not negative, so that on these cases no part alone explains it better.

    Args:
        parts: Scores [n, 1 + k, P] of the held-out product, at 0, and its k competitors.
        valid: Which of them are products, bool [n, 1 + k].

    Returns:
        Weights, float64 [P], not negative; without a case the first part alone has (1, 0, ...).
    """
    if len(parts):
        return _most_likely(parts.double(), valid)
    first = torch.zeros(parts.shape[2], dtype=torch.float64)
    first[0] = 1.0
    return first


def _most_likely(parts: Tensor, valid: Tensor) -> Tensor:
    """Newton's method in units of each part's spread, without parts that would count against."""
    spread = parts[valid].std(dim=0, unbiased=False)
    active = spread > 0
    scaled = parts / torch.where(active, spread, torch.ones_like(spread))
    while True:
        weights = torch.zeros(len(spread), dtype=torch.float64)
        weights[active] = _newton(scaled[:, :, active], valid)
        if bool((weights >= 0).all()):
            return weights / torch.where(active, spread, torch.ones_like(spread))
        active = active & (weights > 0)


def _newton(parts: Tensor, valid: Tensor) -> Tensor:
    weights = torch.zeros(parts.shape[2], dtype=torch.float64)
    before = likelihood(parts, valid, weights)
    for _ in range(_STEPS):
        step = _newton_step(parts, valid, weights)
        after = likelihood(parts, valid, weights + step)
        # Far from the optimum a whole step can go too far; a short enough one never does.
        while after < before - _NEGLIGIBLE:
            step = step / 2
            after = likelihood(parts, valid, weights + step)
        weights = weights + step
        if after - before < _NEGLIGIBLE:
            break
        before = after
    return weights


def _newton_step(parts: Tensor, valid: Tensor, weights: Tensor) -> Tensor:
    chances = (parts @ weights).masked_fill(~valid, float("-inf")).softmax(dim=1)
    mean = torch.einsum("nc,ncp->np", chances, parts)
    slope = (parts[:, 0] - mean).mean(dim=0) - _RIDGE * weights
    spread = torch.einsum("nc,ncp,ncq->pq", chances, parts, parts) - mean.T @ mean
    ridge = _RIDGE * torch.eye(len(weights), dtype=torch.float64)
    step: Tensor = torch.linalg.solve(spread / len(parts) + ridge, slope)
    return step


def likelihood(parts: Tensor, valid: Tensor, weights: Tensor) -> float:
    """Mean log-likelihood of the held-out products, less a small penalty on large weights."""
    scores = (parts @ weights).masked_fill(~valid, float("-inf"))
    found = scores.log_softmax(dim=1)[:, 0].mean()
    return float(found - 0.5 * _RIDGE * weights.square().sum())
