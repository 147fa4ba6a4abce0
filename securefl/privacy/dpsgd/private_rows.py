"""Embedding rows that never leave the member: one unit's own, trained without noise.

What is never released needs no noise, provided that it carries nothing from one unit into another
unit's gradient. A row that a single unit reads does not: it changes that unit's gradient alone,
which is clipped in any case. So each row belongs to the first unit that reads it, and reading it
for another unit is an error. Local parameters of any other kind (a retailer's bias, a local layer)
mix all customers into every gradient; they are refused. docs/explanation/privacy.md, "What is never
released", has the proof.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from securefl.ml.parameters import local_parameters


class MixedUnitsError(RuntimeError):
    """A local parameter would carry one unit's data into another unit's gradient."""


class LocalRows:
    """Trains the local embedding tables of a model, each row by its own unit.

    The tables are taken out of autograd: their output becomes a leaf, whose gradient is the unit's
    own, unclipped and without noise. The optimizer must work coordinate by coordinate, so that it
    does not mix rows either; Adam and SGD do.

    Args:
        model: The model; its local parameters are frozen for every other optimizer.
        expected_batch: The public denominator, as for the shared parameters.

    Raises:
        MixedUnitsError: If a local parameter is not the weight of an `nn.Embedding`.
    """

    def __init__(self, model: nn.Module, expected_batch: float) -> None:
        self.tables = _local_tables(model)
        self._expected_batch = expected_batch
        self._owners = {t: torch.full((t.num_embeddings,), -1) for t in self.tables}
        self._seen: list[tuple[nn.Embedding, Tensor, Tensor]] = []
        self._index: Tensor | None = None
        self.counted = 0
        self._supplied: Iterator[Tensor] | None = None
        self._handles = [t.register_forward_hook(self._capture) for t in self.tables]
        for table in self.tables:
            table.weight.requires_grad_(False)

    @property
    def parameters(self) -> list[Tensor]:
        """The tables' weights."""
        return [table.weight for table in self.tables]

    @property
    def outputs(self) -> list[Tensor]:
        """The tables' outputs since `begin`, in order."""
        return [output for _, _, output in self._seen]

    def begin(self, index: Tensor, counted: int | None = None) -> None:
        """Announce that units `index` (int64 [B]) go through the model next.

        Args:
            index: The units.
            counted: So many of them count; the others fill the batch up. None: all.
        """
        self._index = index
        self.counted = len(index) if counted is None else counted
        self._seen = []

    @contextmanager
    def supplying(self, outputs: Sequence[Tensor]) -> Iterator[None]:
        """Let the tables return `outputs`, in order, in place of their rows."""
        # `torch.func` differentiates with respect to its arguments, so the rows become arguments.
        self._supplied = iter(outputs)
        try:
            yield
        finally:
            self._supplied = None

    def end(self) -> None:
        """Stop checking ownership until the next `begin`: evaluation may read any row."""
        self._index = None
        self._seen = []

    def close(self) -> None:
        """Return the tables to autograd."""
        for handle in self._handles:
            handle.remove()
        for table in self.tables:
            table.weight.requires_grad_(True)

    def accumulate(self, gradients: list[Tensor | None]) -> None:
        """Add the gradients of `outputs`, in their order, to the tables' `grad`."""
        for (table, rows, _), gradient in zip(self._seen, gradients, strict=True):
            if gradient is None:
                continue
            if table.weight.grad is None:
                table.weight.grad = torch.zeros_like(table.weight)
            own, of_rows = gradient[: self.counted], rows[: self.counted]
            share = own.reshape(-1, table.embedding_dim) / self._expected_batch
            share = torch.nan_to_num(share, nan=0.0, posinf=0.0, neginf=0.0)
            table.weight.grad.index_add_(0, of_rows.reshape(-1), share)

    def complete(self) -> None:
        """Give every table a gradient: 0 where no unit has read it.

        An optimizer passes over a parameter without one, and moves all rows of the others by their
        momentum: in a step that a single unit is in, that unit would move the rows of all.
        """
        for table in self.tables:
            if table.weight.grad is None:
                table.weight.grad = torch.zeros_like(table.weight)

    def _capture(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
        if self._supplied is not None:
            return next(self._supplied)
        if self._index is None:
            return None
        assert isinstance(module, nn.Embedding)
        rows = inputs[0]
        self._claim(module, rows)
        output.requires_grad_(True)
        self._seen.append((module, rows, output))
        return None

    def _claim(self, table: nn.Embedding, rows: Tensor) -> None:
        assert self._index is not None
        if rows.shape[0] != len(self._index):
            raise MixedUnitsError("a local table must be read with one leading row a unit")
        units = self._index.view(-1, *[1] * (rows.dim() - 1)).expand_as(rows).reshape(-1)
        flat = rows.reshape(-1)
        owners = self._owners[table]
        # Claim, then compare: within one call, two units that both claim a free row differ here.
        claimed = torch.where(owners[flat] < 0, units, owners[flat])
        owners[flat] = claimed
        if not torch.equal(owners[flat], units):
            raise MixedUnitsError("two units read one local row: one would see the other's data")


def _local_tables(model: nn.Module) -> list[nn.Embedding]:
    weights = local_parameters(model)
    tables = [m for m in model.modules() if isinstance(m, nn.Embedding)]
    local = [t for t in tables if any(t.weight is w for w in weights.values())]
    others = [n for n, w in weights.items() if not any(w is t.weight for t in local)]
    if others:
        raise MixedUnitsError(
            f"local parameters that mix customers cannot be trained privately: {', '.join(others)}"
        )
    return local
