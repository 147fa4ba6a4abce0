"""Per-unit gradients by `torch.func`, for models that use a parameter in several ways.

A product vector that is read as history and scored against as an output has no layer whose inputs
and outputs determine its gradient. Here every unit's loss is differentiated as it stands, many
units at a time; each gradient is instantiated, so that this is for models of moderate size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from securefl.ml.batches import Batch
from securefl.ml.parameters import shared_parameters
from securefl.privacy.dpsgd.optimizers import BookkeepingOptimizer
from securefl.privacy.dpsgd.per_example import (
    GradientPath,
    UnitLoss,
    UnsupportedLayerError,
    kept,
    lengths,
)
from securefl.privacy.dpsgd.private_rows import LocalRows

_INSTANTIATED_FLOATS = 1 << 24
"""Floats of per-unit gradients held at a time: 64 MiB in float32."""

Gradients = tuple[dict[str, Tensor], list[Tensor]]


class VectorisedPath(GradientPath):
    """Instantiates per-unit gradients, of as many units at once as the memory limit allows.

    Args:
        model: Any model whose loss is made of operations that `torch.vmap` knows.
        rows: The model's local tables.
        optimizer: Receives the clipped sums.
    """

    def __init__(self, model: nn.Module, rows: LocalRows, optimizer: BookkeepingOptimizer) -> None:
        super().__init__(model, rows, optimizer.max_grad_norm)
        self.optimizer = optimizer
        self._parameters = shared_parameters(model)
        size = sum(parameter.numel() for parameter in self._parameters.values())
        # A power of two, so that a batch that was filled up is made of equal parts.
        self._at_once = 1 << (max(1, _INSTANTIATED_FLOATS // size).bit_length() - 1)

    def accumulate(self, loss: UnitLoss, batch: Batch) -> Tensor:
        """See `GradientPath`."""
        with torch.no_grad():
            loss(self.model, batch)  # records which local rows each unit reads
        own = [output.detach() for output in self.rows.outputs]
        sums = {
            name: torch.zeros_like(p, dtype=torch.float64) for name, p in self._parameters.items()
        }
        norms, own_gradients = [], []
        for units in torch.split(torch.arange(len(batch[0])), self._at_once):
            shared, rows = self._gradients(loss, [p[units] for p in batch], [o[units] for o in own])
            norms.append(self._add_clipped(shared, sums, int(units[0])))
            own_gradients.append(rows)
        self.rows.accumulate([torch.cat(parts) for parts in zip(*own_gradients, strict=True)])
        for name, parameter in self._parameters.items():
            self.optimizer.sum_of(parameter).add_(sums[name])
        return torch.cat(norms)

    def check(self, loss: UnitLoss, synthetic: Batch) -> None:
        """Refuse operations that `torch.vmap` does not know, of a model without local tables."""
        if self.rows.tables:
            return
        try:
            self._gradients(loss, list(synthetic), [])
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise UnsupportedLayerError(f"torch.vmap cannot follow the loss: {reason}") from None

    def close(self) -> None:
        """See `GradientPath`; there are no hooks."""

    def _gradients(self, loss: UnitLoss, batch: list[Tensor], own: list[Tensor]) -> Gradients:
        """Return per-unit gradients of the shared parameters and of the local tables' outputs."""
        called = _Called(self.model, loss)

        def of_one(shared: dict[str, Tensor], own: list[Tensor], unit: list[Tensor]) -> Tensor:
            with self.rows.supplying([row.unsqueeze(0) for row in own]):
                parameters = {f"model.{name}": parameter for name, parameter in shared.items()}
                losses: Tensor = functional_call(
                    called, parameters, (tuple(part.unsqueeze(0) for part in unit),)
                )
            return losses[0]

        shared = {name: p.detach() for name, p in self._parameters.items()}
        each = vmap(grad(of_one, argnums=(0, 1)), in_dims=(None, 0, 0), randomness="different")
        gradients: Gradients = each(shared, own, batch)
        return gradients

    def _add_clipped(
        self, gradients: dict[str, Tensor], sums: dict[str, Tensor], first: int
    ) -> Tensor:
        """Add the clipped gradients to `sums`; return their norms before clipping, [b]."""
        flat = {name: gradient.reshape(len(gradient), -1) for name, gradient in gradients.items()}
        norms = lengths([*flat.values()])
        factors = self.factors(norms, first)
        for name, each in flat.items():
            clipped = factors.double() @ kept(each, norms).double()
            sums[name].add_(clipped.view_as(sums[name]))
        return norms


class _Called(nn.Module):
    """A loss as the forward pass of a module, which is what `functional_call` can call."""

    def __init__(self, model: nn.Module, loss: UnitLoss) -> None:
        super().__init__()
        self.model = model
        self._loss = loss

    def forward(self, batch: Batch) -> Tensor:
        losses: Tensor = self._loss(self.model, batch)
        return losses
