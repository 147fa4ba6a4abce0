"""Training examples as tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Batch = tuple[Tensor, ...]


class Examples(Protocol):
    """Training units, indexed by tensors and never by item."""

    def __len__(self) -> int:
        """Number of units (rows, or customers)."""

    def batch(self, index: Tensor) -> Batch:
        """Return the units at `index` (int64 [B]) as the tensors that the task's loss takes."""


@dataclass(frozen=True)
class TensorExamples:
    """Units that are rows of a few tensors of equal length."""

    tensors: tuple[Tensor, ...]

    def __len__(self) -> int:
        return self.tensors[0].shape[0]

    def batch(self, index: Tensor) -> Batch:
        """Return the rows at `index`."""
        return tuple(tensor.index_select(0, index) for tensor in self.tensors)


def all_units(examples: Examples) -> Batch:
    """Return every unit as one batch."""
    return examples.batch(torch.arange(len(examples)))
