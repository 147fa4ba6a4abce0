"""Lazy noise for large embedding tables: added to a row only when the row is read.

Private SGD adds independent noise to every row in every step, also to the many rows that no unit
of the batch reads. The sum of k such draws is one draw of k times the variance, so that a row's
noise can wait until it is read; before the model is released all rows are brought up to date. The
distribution of everything that is ever read is that of dense noise: docs/privacy.md, "Lazy noise".
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from securefl.privacy.noise.gaussian import GaussianNoise


class LazyNoiseTable:
    """One embedding table under SGD without momentum or weight decay.

    Args:
        table: The embedding; it must be read through its `forward` alone.
        noise: Source of the noise.
        std: Deviation sigma * C of the noise on the sum of clipped gradients.
        expected_batch: Public denominator of the mean.
    """

    def __init__(
        self, table: nn.Embedding, noise: GaussianNoise, *, std: float, expected_batch: float
    ) -> None:
        self.table = table
        self._noise = noise
        self._std = std
        self._expected_batch = expected_batch
        self._variance = 0.0
        self._caught_up = torch.zeros(table.num_embeddings, dtype=torch.float64)
        self._pending: list[tuple[Tensor, Tensor]] = []
        self._handle = table.register_forward_pre_hook(self._before_read)

    def accumulate(self, rows: Tensor, clipped: Tensor) -> None:
        """Keep one piece of the batch's clipped gradient: int64 [r] and float [r, d]."""
        self._pending.append((rows, clipped))

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Take one SGD step: add the gradient now, and defer the noise of all rows."""
        scale = learning_rate / self._expected_batch
        for rows, clipped in self._pending:
            self.table.weight.index_add_(0, rows, clipped, alpha=-scale)
        self._pending = []
        self._variance += (scale * self._std) ** 2

    @torch.no_grad()
    def catch_up(self, rows: Tensor) -> None:
        """Add to each row (int64 [r], distinct) the noise of the steps it has missed."""
        # One draw of the missed variance has the law of the separate draws, since no gradient in
        # between was a function of this row.
        missed = (self._variance - self._caught_up[rows]).clamp_min(0)
        stale = missed > 0
        rows, missed = rows[stale], missed[stale]
        if not len(rows):
            return
        noise = self._noise.standard(len(rows) * self.table.embedding_dim, self._dtype)
        noise = noise.view(len(rows), -1) * missed.sqrt().to(self._dtype)[:, None]
        self.table.weight.index_add_(0, rows, noise)
        self._caught_up[rows] = self._variance

    @torch.no_grad()
    def flush(self) -> None:
        """Bring every row up to date; nothing may be released before."""
        # All rows, also those that are current: which rows lag behind depends on the data.
        weight = self.table.weight
        size = max(1, (1 << 20) // self.table.embedding_dim)
        for start in range(0, self.table.num_embeddings, size):
            deviation = (self._variance - self._caught_up[start : start + size]).clamp_min(0).sqrt()
            noise = self._noise.standard(weight[start : start + size].numel(), self._dtype)
            part = noise.view(-1, self.table.embedding_dim)
            weight[start : start + size].addcmul_(part, deviation.to(self._dtype)[:, None])
        self._variance = 0.0
        self._caught_up.zero_()

    @property
    def is_current(self) -> bool:
        """Whether every row has all its noise."""
        return math.isclose(float(self._caught_up.min()), self._variance)

    def close(self) -> None:
        """Flush, and remove the hook from the table."""
        self.flush()
        self._handle.remove()

    @property
    def _dtype(self) -> torch.dtype:
        return self.table.weight.dtype

    def _before_read(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.catch_up(torch.unique(inputs[0]))
