"""The sums of product factors of many customers at once, as private steps make them.

A run goes through a network's backward pass for every 128 customers. The sums are linear in what a
customer bought, so that an experiment with many customers multiplies sparse matrices; a test
compares both. No part is longer than the clip norm, so that nothing is clipped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy import sparse

from securefl.privacy.accounting.calibration import Budget, noise_multiplier
from securefl.tasks.common.histories import Histories
from securefl.tasks.recommendation.models import factors as shares
from securefl.tasks.recommendation.models.factors import FactorRanker
from securefl.tasks.recommendation.models.listed import BY_PRODUCT


def learned(
    model: FactorRanker, every: Sequence[Histories], budget: Budget | None, steps: int
) -> FactorRanker:
    """All private steps of a run under one noise, or none without a budget."""
    noise = noise_multiplier(budget, sampling_rate=1.0, steps=steps) if budget else 0.0
    for _ in range(steps):
        step(model, every, 0.5, noise)
    return model.eval()


@torch.no_grad()
def step(model: FactorRanker, every: Sequence[Histories], share: float, noise: float) -> None:
    """Add one private step of all customers, and noise of this deviation, to the model."""
    model._denoise()
    sums = [np.zeros(layer.weight.shape) for layer in model.released()]
    for histories in every:
        _add(model, histories, share, sums)
    for layer, found in zip(model.released(), sums, strict=True):
        layer.weight.add_(torch.from_numpy(found) + noise * torch.randn(found.shape))


def _add(
    model: FactorRanker, histories: Histories, share: float, sums: Sequence[np.ndarray]
) -> None:
    popularity, kinds, _, factors, overlap = sums
    count, products = len(histories), len(popularity)
    start, items = histories.start.numpy(), histories.items.numpy()
    customer = np.repeat(np.arange(count), np.diff(start))
    weights = histories.weights.numpy().astype(np.float64)
    reads = model.reads.numpy().astype(np.float64)
    shown = (torch.rand_like(histories.weights) < share).numpy()

    def rows(values: np.ndarray, columns: np.ndarray = items, width: int = products):
        return sparse.csr_matrix((values, (customer, columns)), (count, width))

    def codes(which: np.ndarray) -> np.ndarray:
        found = rows(which.astype(float)) @ reads
        return found / np.linalg.norm(found, axis=1, keepdims=True).clip(1e-9)

    listed = _shares(weights, customer, count)
    popularity[:, 0] += _part(shares._LIST * BY_PRODUCT) * rows(np.sqrt(listed)).sum(axis=0).A1
    by_kind = rows(listed, model.codes[2].numpy()[items], len(kinds)).sqrt().sum(axis=0).A1
    kinds[:, 0] += _part(shares._LIST * (1 - BY_PRODUCT)) * by_kind
    hidden = np.sqrt(_shares(weights * ~shown, customer, count))
    factors += _part(shares._FACTORS) * (rows(hidden).T @ codes(shown))
    whole = codes(np.ones(len(items)))
    overlap += _part(shares._OVERLAP) * (whole.T @ whole)


def _part(share: float) -> float:
    return math.sqrt(share)


def _shares(weights: np.ndarray, customer: np.ndarray, count: int) -> np.ndarray:
    total = np.bincount(customer, weights, count)
    return weights / np.maximum(total, 1e-9)[customer]
