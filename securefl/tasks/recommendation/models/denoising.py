"""The logarithm of sums that were released under noise, by empirical Bayes.

A noised list of popularity is a vector of numbers, each of which has Gaussian noise of one known
deviation on it. Most products sell little, so that the logarithm of what was released is mostly
noise. The distribution of the true sums is estimated from all of them (the nonparametric maximum
likelihood of Kiefer and Wolfowitz 1956, by the EM algorithm of Laird 1978 on a grid, as in Koenker
and Mizera 2014), and each sum gets the mean of its logarithm given what was released. It reads
nothing but the release: post-processing, which costs no budget (Dwork and Roth 2014, prop. 2.1).
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

_POINTS: Final = 120
_ITERATIONS: Final = 40
_RANGE: Final = 5000.0
"""Ratio of the largest to the smallest sum that is told apart."""
_UNIFORM: Final = 0.02
"""Share of the estimate that is spread over the grid: no sum is ruled out."""
_PRECISE: Final = 12.0
"""Deviations above 0 from which on a sum speaks for itself: its logarithm is then biased by less
than a hundredth, and the grid would be coarser than the noise."""
_MARGIN: Final = 6.0
_LARGEST: Final = 1e30
_LEAST_NOISE: Final = 1e-6


def log_means(noised: Tensor, deviation: float, groups: Tensor) -> Tensor:
    """Return the mean of the logarithm of each sum, float64 [n], up to a common constant.

    Args:
        noised: The released sums, [n]; also numbers that are none, for they may be hostile.
        deviation: Standard deviation of the noise in each of them; 0 where there is none.
        groups: Group of each sum, int64 [n]; sums of a group share one distribution.
    """
    seen = noised.double().nan_to_num(0.0, _LARGEST, -_LARGEST).clamp(-_LARGEST, _LARGEST)
    top = float(seen.max()) if len(seen) else 0.0
    if top <= 1 / _LARGEST:
        return torch.zeros(len(seen), dtype=torch.float64)
    # In units of the smallest sum that is told apart; one of them is added before the logarithm.
    scaled = (seen * (_RANGE / top)).clamp(min=-_LARGEST)
    noise = max(_LEAST_NOISE, min(deviation, _LARGEST) * (_RANGE / top))
    means = (scaled.clamp(min=0.0) + 1.0).log()
    uncertain = scaled < _PRECISE * noise
    largest = min(1.05 * _RANGE, (_PRECISE + _MARGIN) * noise)
    grid = torch.logspace(0.0, math.log10(largest + 1.0), _POINTS, dtype=torch.float64)
    for group in torch.unique(groups[uncertain]).tolist():
        inside = uncertain & (groups == group)
        means[inside] = _posterior(scaled[inside], noise, grid)
    return means


def by_size(means: Tensor, count: int) -> Tensor:
    """Return groups of numbers alike, int64 [n], about equally many in each of `count`."""
    edges = torch.quantile(means, torch.linspace(0, 1, count + 1, dtype=means.dtype)[1:-1])
    return torch.bucketize(means, edges)


def _posterior(seen: Tensor, noise: float, grid: Tensor) -> Tensor:
    """Return the mean of the logarithm of each sum under the estimated distribution, [n].

    Args:
        seen: The noised sums, float64 [n], n > 0.
        noise: Standard deviation of their noise, above 0.
        grid: What the sums can be, plus 1, ascending.
    """
    likelihood = -((seen[:, None] - (grid - 1.0)) / noise).square() / 2
    likelihood = (likelihood - likelihood.max(dim=1, keepdim=True).values).exp()
    share = torch.full_like(grid, 1 / len(grid))
    for _ in range(_ITERATIONS):
        shares = share * ((1 / (likelihood @ share)) @ likelihood) / len(seen)
        share = (1 - _UNIFORM) * shares + _UNIFORM / len(grid)
    weight = likelihood * share
    found: Tensor = (weight @ grid.log()) / weight.sum(dim=1)
    return found
