"""Training examples as tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

Batch = tuple[Tensor, ...]


class Examples(Protocol):
    """Training units, indexed by tensors and never by item."""

    def __len__(self) -> int:
        """Number of units (rows, or customers)."""

    def batch(self, index: Tensor) -> Batch:
        """Return the units at `index` (int64 [B]) as the tensors that the task's loss takes."""


@runtime_checkable
class SizedExamples(Protocol):
    """Units with rows of their own, which a batch fills up to a common width with padding."""

    def __len__(self) -> int:
        """Number of units."""

    def batch(self, index: Tensor) -> Batch:
        """Return the units at `index`, as wide as the largest of them."""

    def sizes(self) -> Tensor:
        """Return the number of rows of each unit, int64 [n]."""

    def sized_batch(self, index: Tensor, width: int) -> Batch:
        """Return the units at `index`, each as wide as `width`, which no unit exceeds."""


@runtime_checkable
class SettlingExamples(Protocol):
    """Units of which some parameters are a sum, that no step of gradient descent approaches."""

    def settle(self, model: nn.Module) -> None:
        """Set these parameters of a model, after its other ones were trained."""


def sizes_of(examples: Examples) -> Tensor:
    """Return the number of rows of each unit, int64 [n]; 0 where all have equally many."""
    if isinstance(examples, SizedExamples):
        return examples.sizes().clamp(min=1)
    return torch.zeros(len(examples), dtype=torch.int64)


def sized_batch(examples: Examples, index: Tensor, width: int) -> Batch:
    """Return the units at `index` as wide as `width`; 0 where all have equally many rows."""
    if isinstance(examples, SizedExamples):
        return examples.sized_batch(index, width)
    return examples.batch(index)


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
