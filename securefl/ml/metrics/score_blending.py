"""How several scores become one: weights chosen on a retailer's own validation purchases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from securefl.errors import ConfigError
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


@dataclass(frozen=True)
class DefaultWeights:
    """Public weights that a retailer's own are drawn to, the less the more purchases it has.

    Attributes:
        values: A weight for each part, float64 [P], none below 0.
        cases: So many held-out purchases they count for.
    """

    values: Tensor
    cases: float


def chosen_weights(
    parts: Scores, ranking: RankingCases, default: DefaultWeights | None = None
) -> Tensor:
    """Return the weights of `blend_weights` on held-out purchases and their sampled competitors.

    Args:
        parts: Positions of cases, int64 [B], to the parts of all products' scores, [B, I, P].
        ranking: The held-out purchases.
        default: What they are drawn to, if anything.
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
    return blend_weights(torch.cat(found), candidates >= 0, default)


def blend_weights(parts: Tensor, valid: Tensor, default: DefaultWeights | None = None) -> Tensor:
    """Return weights under which held-out products stand out among their competitors.

    Maximises the conditional likelihood of the held-out product (McFadden 1974) over weights that
    are not negative, so that without a default no part alone explains these cases better. A default
    is a normal prior around it, as `default.cases` purchases would leave it (their information, at
    the default, is taken to be that of these cases).

    Args:
        parts: Scores [n, 1 + k, P] of the held-out product, at 0, and its k competitors.
        valid: Which of them are products, bool [n, 1 + k].
        default: What the weights are drawn to, if anything.

    Returns:
        Weights, float64 [P], not negative; without a case, or where every part counts against
        these, the default, or without one the first part alone (1, 0, ...): weights of 0 would rank
        nothing.

    Raises:
        ConfigError: If the default has a weight for more or fewer parts.
    """
    if default is not None and len(default.values) != parts.shape[2]:
        raise ConfigError(
            f"model.parts: {len(default.values)} default weights for {parts.shape[2]} components of"
            " scores; give each part as many as it has, or none"
        )
    if len(parts):
        found = _most_likely(parts.double(), valid, default)
        if bool(found.any()):
            return found
    if default is not None:
        return default.values
    first = torch.zeros(parts.shape[2], dtype=torch.float64)
    first[0] = 1.0
    return first


def _most_likely(parts: Tensor, valid: Tensor, default: DefaultWeights | None) -> Tensor:
    """Newton's method in units of each part's spread, without parts that would count against."""
    spread = parts[valid].std(dim=0, unbiased=False)
    active = spread > 0
    unit = torch.where(active, spread, torch.ones_like(spread))
    scaled = parts / unit
    prior = None if default is None else _Prior.of(scaled, valid, default.values * unit, default)
    while True:
        weights = torch.zeros(len(spread), dtype=torch.float64)
        within = None if prior is None else prior.among(active)
        weights[active] = _newton(scaled[:, :, active], valid, within)
        if bool((weights >= 0).all()):
            return weights / unit
        active = active & (weights > 0)


@dataclass(frozen=True)
class _Prior:
    """A quadratic penalty around the default weights, in units of a case's log-likelihood.

    Attributes:
        slope: Its slope at weights of 0, float64 [P].
        curvature: Float64 [P, P].
    """

    slope: Tensor
    curvature: Tensor

    @classmethod
    def of(cls, parts: Tensor, valid: Tensor, centre: Tensor, default: DefaultWeights) -> _Prior:
        curvature = _information(parts, _chances(parts, valid, centre))
        curvature = curvature * (default.cases / len(parts))
        return cls(curvature @ centre, curvature)

    def among(self, active: Tensor) -> _Prior:
        """Return it where all other weights are 0."""
        return _Prior(self.slope[active], self.curvature[active][:, active])

    def slope_at(self, weights: Tensor) -> Tensor:
        return self.slope - self.curvature @ weights

    def gain(self, weights: Tensor) -> float:
        """Return its logarithm, up to a constant."""
        return float(self.slope @ weights - 0.5 * weights @ self.curvature @ weights)


def _newton(parts: Tensor, valid: Tensor, prior: _Prior | None) -> Tensor:
    def reached(weights: Tensor) -> float:
        found = likelihood(parts, valid, weights)
        return found if prior is None else found + prior.gain(weights)

    weights = torch.zeros(parts.shape[2], dtype=torch.float64)
    before = reached(weights)
    for _ in range(_STEPS):
        step = _newton_step(parts, valid, weights, prior)
        after = reached(weights + step)
        # Far from the optimum a whole step can go too far; a short enough one never does.
        while after < before - _NEGLIGIBLE:
            step = step / 2
            after = reached(weights + step)
        weights = weights + step
        if after - before < _NEGLIGIBLE:
            break
        before = after
    return weights


def _newton_step(parts: Tensor, valid: Tensor, weights: Tensor, prior: _Prior | None) -> Tensor:
    chances = _chances(parts, valid, weights)
    mean = torch.einsum("nc,ncp->np", chances, parts)
    slope = (parts[:, 0] - mean).mean(dim=0) - _RIDGE * weights
    curvature = _information(parts, chances)
    if prior is not None:
        slope, curvature = slope + prior.slope_at(weights), curvature + prior.curvature
    step: Tensor = torch.linalg.solve(curvature, slope)
    return step


def _information(parts: Tensor, chances: Tensor) -> Tensor:
    """Return the information on the weights in a case, with the ridge, float64 [P, P]."""
    mean = torch.einsum("nc,ncp->np", chances, parts)
    spread = torch.einsum("nc,ncp,ncq->pq", chances, parts, parts) - mean.T @ mean
    return spread / len(parts) + _RIDGE * torch.eye(parts.shape[2], dtype=torch.float64)


def _chances(parts: Tensor, valid: Tensor, weights: Tensor) -> Tensor:
    return (parts @ weights).masked_fill(~valid, float("-inf")).softmax(dim=1)


def likelihood(parts: Tensor, valid: Tensor, weights: Tensor) -> float:
    """Mean log-likelihood of the held-out products, less a small penalty on large weights."""
    scores = (parts @ weights).masked_fill(~valid, float("-inf"))
    found = scores.log_softmax(dim=1)[:, 0].mean()
    return float(found - 0.5 * _RIDGE * weights.square().sum())
