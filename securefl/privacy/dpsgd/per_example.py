"""The interface of paths to a batch's sum of clipped per-unit gradients, and the Opacus path.

All paths give the same numbers. `hooks` is Opacus' own `GradSampleModule`, kept from reusing the
state of an earlier step; `bookkeeping` and `vectorised` are in files of their own. A unit is what
a row of the loss stands for: a record, or a customer with all the rows of their batch.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from opacus.grad_sample import GradSampleModule
from opacus.grad_sample.embedding import compute_embedding_grad_sample
from torch import Tensor, nn

from securefl.errors import ConfigError
from securefl.ml.batches import Batch
from securefl.privacy.dpsgd.layer_norms import without_padding
from securefl.privacy.dpsgd.optimizers import HooksOptimizer
from securefl.privacy.dpsgd.private_rows import LocalRows

UnitLoss = Callable[[nn.Module, Batch], Tensor]
Samples = dict[nn.Parameter, Tensor]

CLIP_STABILIZER = 1e-6
"""Added to the norm, as in Opacus, so that the factor of a zero gradient is defined."""


class UnsupportedLayerError(ConfigError):
    """A layer whose per-unit gradients this path cannot compute; another path may."""

    wire_name: ClassVar[str] = "UnsupportedLayerError"


def clip_factors(norms: Tensor, clip_norm: float) -> Tensor:
    """Return each unit's factor min(1, C / (norm + 1e-6)), [B] (Abadi et al. 2016, algorithm 1).

    It is 0 where the norm is not finite: such a unit contributes nothing, which depends on that
    unit alone. Its gradient has to be left out as well, for 0 times infinity is NaN.
    """
    factors = (clip_norm / (norms + CLIP_STABILIZER)).clamp(max=1.0)
    return factors.masked_fill(~norms.isfinite(), 0.0)


def kept(values: Tensor, norms: Tensor) -> Tensor:
    """Return `values` [B, ...] with zeros in the rows of units whose norm is not finite."""
    finite = norms.isfinite()
    # No copy of a whole batch for what occurs in attacks alone.
    if bool(finite.all()):
        return values
    return values.masked_fill(~finite.view(-1, *[1] * (values.dim() - 1)), 0.0)


def lengths(parts: Sequence[Tensor]) -> Tensor:
    """Return the norm of each unit's gradient, float64 [B], from its parts [B, n] each."""
    each = [torch.linalg.vector_norm(part, dim=1, dtype=torch.float64) for part in parts]
    norms: Tensor = torch.stack(each).norm(dim=0)
    return norms


class GradientPath(ABC):
    """Turns a batch into the sum of its units' clipped gradients, held by the optimizer."""

    def __init__(self, model: nn.Module, rows: LocalRows, clip_norm: float) -> None:
        self.model = model
        self.rows = rows
        self.clip_norm = clip_norm

    @abstractmethod
    def accumulate(self, loss: UnitLoss, batch: Batch) -> Tensor:
        """Add the batch's clipped per-unit gradients to the sum of this step.

        A unit whose norm is not finite adds nothing. It takes part in the one pass that all units
        make, so that it changes neither what others add nor the random draws that they get.

        Args:
            loss: The loss of each unit, [B].
            batch: At least one unit.

        Returns:
            The norms before clipping, [B]. They are private: not to be logged or released.
        """

    def factors(self, norms: Tensor, first: int = 0) -> Tensor:
        """Return the units' clip factors, [B]; 0 for those that only fill the batch up.

        Args:
            norms: Of the units' gradients, [B].
            first: Place of the first of them in the batch.
        """
        found = clip_factors(norms, self.clip_norm)
        found[max(self.rows.counted - first, 0) :] = 0.0
        return found

    def check(self, loss: UnitLoss, synthetic: Batch) -> None:
        """Refuse a model whose gradients this path cannot compute; by default none.

        Args:
            loss: The loss of each unit, [B].
            synthetic: Units that were made up, and of which nothing depends on data.

        Raises:
            UnsupportedLayerError: If the model cannot be trained on this path.
        """
        del loss, synthetic

    @abstractmethod
    def close(self) -> None:
        """Remove all hooks from the model."""


class HooksPath(GradientPath):
    """Opacus' hooks: every unit's gradient is instantiated; works for any layer, but slowly."""

    def __init__(self, model: nn.Module, rows: LocalRows, optimizer: HooksOptimizer) -> None:
        super().__init__(model, rows, optimizer.max_grad_norm)
        self.optimizer = optimizer
        try:
            self._hooks = _PaddedGradSample(model, loss_reduction="sum")
        except NotImplementedError:
            raise UnsupportedLayerError("hooks know no layers with buffers of their own") from None

    def accumulate(self, loss: UnitLoss, batch: Batch) -> Tensor:
        """See `GradientPath`."""
        self._begin_anew()
        losses = loss(self.model, batch)
        _backward(losses.sum())
        parameters: list[Any] = self.optimizer.params
        for parameter in parameters:
            parameter.grad = None
            if parameter.grad_sample is None:
                parameter.grad_sample = parameter.new_zeros(1).expand(len(losses), *parameter.shape)
        norms = lengths([parameter.grad_sample.flatten(1) for parameter in parameters])
        factors = self.factors(norms)
        for parameter in parameters:
            parameter.grad_sample = kept(parameter.grad_sample, norms)
        self.rows.accumulate([output.grad for output in self.rows.outputs])
        self.optimizer.add_clipped(factors)
        return norms

    def _begin_anew(self) -> None:
        """Discard what Opacus kept of a layer that ran in an earlier step and got no gradient.

        Its counter of uses would be wrong, and an incomplete sum would enter this step's. Opacus
        counts in attributes of its own, and resets them with its hooks.
        """
        self.close()
        self._hooks = _PaddedGradSample(self.model, loss_reduction="sum")

    def close(self) -> None:
        """See `GradientPath`."""
        self._hooks.cleanup()
        for module in self.model.modules():
            for name in ("activations", "max_batch_len"):
                if hasattr(module, name):
                    delattr(module, name)


def _backward(objective: Tensor, *, retain_graph: bool = False) -> None:
    with warnings.catch_warnings():
        # Opacus hooks layers whose inputs are data and need no gradient; torch warns about it.
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        objective.backward(retain_graph=retain_graph)  # type: ignore[no-untyped-call]


def _embedding_samples(
    layer: nn.Embedding, activations: list[Tensor], backprops: Tensor
) -> Samples:
    kept = without_padding(activations[0], backprops, layer.padding_idx)
    samples: Samples = compute_embedding_grad_sample(layer, activations, kept)
    return samples


class _PaddedGradSample(GradSampleModule):  # type: ignore[misc]
    """`GradSampleModule` without gradients of the padding row, which Opacus itself trains."""

    GRAD_SAMPLERS = {**GradSampleModule.GRAD_SAMPLERS, nn.Embedding: _embedding_samples}  # noqa: RUF012
