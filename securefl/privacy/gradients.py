"""The three ways to a batch's sum of clipped per-unit gradients; the numbers are the same.

`hooks` and `ghost` are Opacus' own `GradSampleModule` and `GradSampleModuleFastGradientClipping`,
kept from reusing what an earlier step left behind; `bookkeeping` is in its own file. A unit is
whatever a row of the loss stands for: a record, or a customer with all the rows of its batch.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
from opacus.grad_sample.embedding import (
    compute_embedding_grad_sample,
    compute_embedding_norm_sample,
)
from opacus.grad_sample.linear import compute_linear_norm_sample
from torch import Tensor, nn

from securefl.errors import ConfigError
from securefl.privacy.layer_gradients import unit_rows, without_padding
from securefl.privacy.local_rows import LocalRows
from securefl.privacy.optimizers import GhostOptimizer, HooksOptimizer
from securefl.tasks.base import Batch

UnitLoss = Callable[[nn.Module, Batch], Tensor]
Samples = dict[nn.Parameter, Tensor]

CLIP_STABILIZER = 1e-6
"""Opacus divides by the norm plus this, so that a zero gradient has a factor."""


class UnsupportedLayerError(ConfigError):
    """A layer whose per-unit gradients this path cannot tell; another path may."""

    wire_name: ClassVar[str] = "UnsupportedLayerError"


def clip_factors(norms: Tensor, clip_norm: float) -> Tensor:
    """What each unit's gradient is multiplied with: min(1, C / norm), [B] (Abadi et al. 2016)."""
    return (clip_norm / (norms + CLIP_STABILIZER)).clamp(max=1.0)


def all_finite(norms: Tensor) -> bool:
    """Whether no norm [B], B >= 1, is infinite or NaN; `max` hands NaN on."""
    return math.isfinite(float(norms.max()))


class GradientPath(ABC):
    """Turns a batch into the sum of its units' clipped gradients, held by the optimizer."""

    def __init__(self, model: nn.Module, rows: LocalRows) -> None:
        self.model = model
        self.rows = rows

    @abstractmethod
    def accumulate(self, loss: UnitLoss, batch: Batch) -> Tensor:
        """Add the batch's clipped per-unit gradients to the sum of this step.

        Where a norm is not finite, nothing at all is added, and the caller leaves those units out.

        Args:
            loss: The loss of each unit, [B].
            batch: At least one unit.

        Returns:
            The norms before clipping, [B]. They are private: not to be logged or released.
        """

    @abstractmethod
    def close(self) -> None:
        """Take all hooks off the model."""


class HooksPath(GradientPath):
    """Opacus' hooks: every unit's gradient is instantiated. Works for any layer, slowly."""

    def __init__(self, model: nn.Module, rows: LocalRows, optimizer: HooksOptimizer) -> None:
        super().__init__(model, rows)
        self.optimizer = optimizer
        self.hooks = _PaddedGradSample(model, loss_reduction="sum")

    def accumulate(self, loss: UnitLoss, batch: Batch) -> Tensor:
        """See `GradientPath`."""
        _forget(self.model)
        losses = loss(self.model, batch)
        _backward(losses.sum())
        parameters: list[Any] = self.optimizer.params
        for parameter in parameters:
            parameter.grad = None
            if parameter.grad_sample is None:
                parameter.grad_sample = parameter.new_zeros(1).expand(len(losses), *parameter.shape)
        samples: list[Tensor] = [parameter.grad_sample.flatten(1) for parameter in parameters]
        norms: Tensor = torch.stack([sample.norm(dim=1) for sample in samples]).norm(dim=0)
        if all_finite(norms):
            self.rows.accumulate([output.grad for output in self.rows.outputs])
            self.optimizer.clip_and_accumulate()
        return norms

    def close(self) -> None:
        """See `GradientPath`."""
        self.hooks.cleanup()


class GhostPath(GradientPath):
    """Opacus' ghost clipping: norms in a first backward pass, clipped sums in a second."""

    def __init__(self, model: nn.Module, rows: LocalRows, optimizer: GhostOptimizer) -> None:
        super().__init__(model, rows)
        self.optimizer = optimizer
        self.hooks = _PaddedGhost(
            model, loss_reduction="sum", max_grad_norm=optimizer.max_grad_norm
        )

    def accumulate(self, loss: UnitLoss, batch: Batch) -> Tensor:
        """See `GradientPath`."""
        _forget(self.model)
        losses = loss(self.model, batch)
        _backward(losses.sum(), retain_graph=True)
        self._check_norms(losses)
        norms: Tensor = self.hooks.get_norm_sample()
        own = [output.grad for output in self.rows.outputs]
        own = [gradient if gradient is None else gradient.clone() for gradient in own]
        self._clear()
        if all_finite(norms):
            self.rows.accumulate(own)
            self.hooks.disable_hooks()
            _backward((self.hooks.get_clipping_coef() * losses).sum())
            self.hooks.enable_hooks()
            for parameter in self.optimizer.params:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            self.optimizer.accumulate()
            self._clear()
        return norms

    def _check_norms(self, losses: Tensor) -> None:
        """Every norm is of this step: a layer that was not used has none, and contributes 0."""
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad and not hasattr(parameter, "_norm_sample"):
                if parameter.grad is not None:
                    raise UnsupportedLayerError(f"ghost clipping has no norm for {name}")
                parameter._norm_sample = losses.new_zeros(len(losses))  # type: ignore[attr-defined]

    def _clear(self) -> None:
        for parameter in self.optimizer.params:
            parameter.grad = None

    def close(self) -> None:
        """See `GradientPath`."""
        self.hooks.cleanup()


def _backward(objective: Tensor, *, retain_graph: bool = False) -> None:
    with warnings.catch_warnings():
        # Opacus hooks layers that are fed data, which need no gradient; torch remarks on that.
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        objective.backward(retain_graph=retain_graph)  # type: ignore[no-untyped-call]


def _forget(model: nn.Module) -> None:
    """Drop what Opacus keeps on modules and parameters when a layer got no gradient."""
    for module in model.modules():
        for name in ("activations", "max_batch_len"):
            if hasattr(module, name):
                delattr(module, name)
    for parameter in model.parameters():
        for name in ("_norm_sample", "_current_grad_sample"):
            if hasattr(parameter, name):
                delattr(parameter, name)
        parameter.grad_sample = None  # type: ignore[attr-defined]
        parameter._forward_counter = 0  # type: ignore[attr-defined]


def _embedding_samples(
    layer: nn.Embedding, activations: list[Tensor], backprops: Tensor
) -> Samples:
    kept = without_padding(activations[0], backprops, layer.padding_idx)
    samples: Samples = compute_embedding_grad_sample(layer, activations, kept)
    return samples


def _embedding_norms(layer: nn.Embedding, inputs: list[Tensor], backprops: Tensor) -> Samples:
    kept = without_padding(inputs[0], backprops, layer.padding_idx)
    samples: Samples = compute_embedding_norm_sample(layer, [inputs[0].contiguous()], kept)
    return samples


def _linear_norms(layer: nn.Linear, inputs: list[Tensor], backprops: Tensor) -> Samples:
    rows = [unit_rows(inputs[0])]
    samples: Samples = compute_linear_norm_sample(layer, rows, unit_rows(backprops))
    return samples


class _PaddedGradSample(GradSampleModule):  # type: ignore[misc]
    """`GradSampleModule`, which by itself trains the padding row."""

    GRAD_SAMPLERS = {**GradSampleModule.GRAD_SAMPLERS, nn.Embedding: _embedding_samples}  # noqa: RUF012


class _PaddedGhost(GradSampleModuleFastGradientClipping):  # type: ignore[misc]
    """The ghost module, which by itself counts the padding row and has no norm beyond 3-D."""

    NORM_SAMPLERS = {  # noqa: RUF012
        **GradSampleModuleFastGradientClipping.NORM_SAMPLERS,
        nn.Embedding: _embedding_norms,
        nn.Linear: _linear_norms,
    }
