"""Book-keeping: per-unit norms and clipped sums in one backward pass, for Linear and Embedding.

One pass back to the layers' outputs gives all that the norms need, and the clipped sums are
products of the same tensors: no per-unit gradient is instantiated and no second pass runs
("book-keeping", Bu et al. 2023, arXiv:2210.00038).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from securefl.ml.batches import Batch
from securefl.ml.parameters import shared_parameters
from securefl.privacy.dpsgd.layer_norms import (
    embedding_gradients,
    embedding_mass,
    embedding_squared_norms,
    linear_gradients,
    linear_mass,
    linear_squared_norms,
    unit_rows,
    weighted,
    without_padding,
)
from securefl.privacy.dpsgd.optimizers import BookkeepingOptimizer
from securefl.privacy.dpsgd.per_example import (
    GradientPath,
    UnitLoss,
    UnsupportedLayerError,
    clip_factors,
    kept,
    lengths,
)
from securefl.privacy.dpsgd.private_rows import LocalRows

Layer = nn.Linear | nn.Embedding
_MOST_MASS = 8.0
"""Largest ratio of a clipped unit's terms, added by their lengths, to the clip norm; a unit with
more is added by itself. Rounding moves the others by less than a millionth of the clip norm."""


@dataclass(frozen=True)
class _Read:
    """One call of a layer: its input, its output, and the output's version counter."""

    layer: Layer
    inputs: Tensor
    output: Tensor
    version: int


@dataclass(frozen=True)
class _Used:
    """A layer's use in one batch: inputs [B, T, in] or indices [B, T], and backprops."""

    layer: Layer
    inputs: Tensor
    backprops: Tensor

    def of(self, unit: int) -> _Used:
        """Return one unit's part, as tensors of their own: where they begin rounds a product."""
        own = slice(unit, unit + 1)
        return _Used(self.layer, self.inputs[own].clone(), self.backprops[own].clone())

    def finite(self, norms: Tensor) -> _Used:
        """Return the same with zeros for the units whose norm is not finite: 0 times NaN is NaN."""
        inputs = kept(self.inputs, norms) if self.inputs.is_floating_point() else self.inputs
        return _Used(self.layer, inputs, kept(self.backprops, norms))


class BookkeepingPath(GradientPath):
    """The book-keeping path; layers may be used several times, with any number of middle axes.

    Args:
        model: Every shared parameter belongs to exactly one `nn.Linear` or `nn.Embedding`.
        rows: The model's local tables.
        optimizer: Receives the clipped sums.

    Raises:
        UnsupportedLayerError: If a shared parameter belongs to any other layer.
    """

    def __init__(
        self,
        model: nn.Module,
        rows: LocalRows,
        optimizer: BookkeepingOptimizer,
    ) -> None:
        super().__init__(model, rows, optimizer.max_grad_norm)
        self.optimizer = optimizer
        self.layers = supported_layers(model)
        self._parameters = list(shared_parameters(model).values())
        self._reads: list[_Read] | None = None
        self._handles = [layer.register_forward_hook(self._capture) for layer in self.layers]

    def accumulate(self, loss: UnitLoss, batch: Batch) -> Tensor:
        """See `GradientPath`."""
        losses, used, own = self._backpropagate(loss, batch)
        squared, mass = torch.zeros(2, len(losses), dtype=torch.float64)
        for use in used:
            squared += _squared_norms(use)
            mass += _mass(use).square()
        norms: Tensor = squared.sqrt()
        factors = self.factors(norms)
        cancelling = (factors > 0) & ~(factors * mass.sqrt() <= _MOST_MASS * self.clip_norm)
        for unit in cancelling.nonzero().flatten().tolist():
            self._add_exactly([use.of(unit) for use in used])
        factors = factors.masked_fill(cancelling, 0.0)
        self.rows.accumulate(own)
        for use in used:
            self._add(use.finite(norms), factors)
        return norms

    def check(self, loss: UnitLoss, synthetic: Batch) -> None:
        """Compare the unclipped sums with autograd's.

        A parameter that is also used outside its layer's forward has a gradient that no layer's
        inputs and outputs contain; clipping would then bound only a part of it.
        """
        self.rows.end()
        state = torch.get_rng_state()
        losses, used, _ = self._backpropagate(loss, synthetic)
        torch.set_rng_state(state)  # so that the same units see the same dropout again
        total = loss(self.model, synthetic).sum()
        expected = _derivatives(total, self._parameters)
        found: dict[Tensor, Tensor] = {
            parameter: torch.zeros_like(parameter) for parameter in self._parameters
        }
        for use in used:
            _add_weighted(use, torch.ones_like(losses), lambda parameter: found[parameter])
        names = shared_parameters(self.model)
        for (name, parameter), wanted in zip(names.items(), expected, strict=True):
            _compare(name, found[parameter], wanted)

    def close(self) -> None:
        """See `GradientPath`."""
        for handle in self._handles:
            handle.remove()

    def _backpropagate(
        self, loss: UnitLoss, batch: Batch
    ) -> tuple[Tensor, list[_Used], list[Tensor | None]]:
        """Return losses [B], the layers' uses, and the gradients of the local tables' outputs."""
        self._reads = []
        try:
            with self._without_parameter_gradients():
                losses = loss(self.model, batch)
            reads = self._reads
        finally:
            self._reads = None
        _check_reads(reads, len(losses))
        targets = [read.output for read in reads] + self.rows.outputs
        gradients = _derivatives(losses.sum(), targets)
        own = list(gradients[len(reads) :])
        return losses.detach(), list(_by_layer(reads, gradients[: len(reads)])), own

    def _capture(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        if self._reads is None:
            return
        assert isinstance(module, Layer)
        # The first layer's inputs are data and its parameters are frozen during this pass, so that
        # autograd would not go back to its output by itself.
        if not output.requires_grad:
            output.requires_grad_(True)
        self._reads.append(_Read(module, inputs[0].detach(), output, output._version))

    @contextmanager
    def _without_parameter_gradients(self) -> Iterator[None]:
        """Freeze the parameters, so that autograd stops at the layers' outputs."""
        for parameter in self._parameters:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in self._parameters:
                parameter.requires_grad_(True)

    def _add(self, use: _Used, factors: Tensor) -> None:
        _add_weighted(use, factors, self.optimizer.sum_of)

    def _add_exactly(self, uses: list[_Used]) -> None:
        """Add one unit's gradient by itself, clipped by the norm of the very numbers added.

        Where a unit's terms cancel, rounding alone can be longer than the clip norm: the sum of
        the terms is then no longer the gradient of which the norm was computed.
        """
        rows = [_gradients(use) for use in uses]
        norms = lengths([part.reshape(1, -1) for _, parts in rows for part in parts])
        factor = clip_factors(norms, self.clip_norm)
        for use, (index, parts) in zip(uses, rows, strict=True):
            for parameter, part in zip(use.layer.parameters(), parts, strict=True):
                total = self.optimizer.sum_of(parameter)
                clipped = (part * factor).to(total.dtype)
                if index is None:
                    total.add_(clipped)
                else:
                    total.index_add_(0, index, clipped)


def supported_layers(model: nn.Module) -> list[Layer]:
    """Return the layers that own the shared parameters.

    Raises:
        UnsupportedLayerError: If book-keeping cannot compute a parameter's per-unit gradients.
    """
    shared = {id(p) for p in shared_parameters(model).values()}
    layers: list[Layer] = []
    for name, module in model.named_modules():
        if getattr(module, "reads_whole_tables", False):
            raise UnsupportedLayerError(f"bookkeeping cannot follow {name}: it reads whole tables")
        if not any(id(p) in shared for p in module.parameters(recurse=False)):
            continue
        if not _is_supported(module):
            raise UnsupportedLayerError(f"bookkeeping knows Linear and Embedding, not {name}")
        layers.append(module)
    return layers


def is_known(model: nn.Module) -> bool:
    """Return whether every shared parameter belongs to a layer that book-keeping supports."""
    try:
        supported_layers(model)
    except UnsupportedLayerError:
        return False
    return True


def _is_supported(module: nn.Module) -> TypeGuard[Layer]:
    """Return whether a layer is of an exact type and without options that mix units."""
    # A subclass may compute anything, and `max_norm` rewrites rows depending on which are read.
    if type(module) is nn.Embedding:
        return module.max_norm is None and not module.scale_grad_by_freq and not module.sparse
    return type(module) is nn.Linear


def _derivatives(total: Tensor, of: list[Any]) -> tuple[Tensor | None, ...]:
    """Return the derivatives of `total`, None where it does not depend on one."""
    if not of or not total.requires_grad:
        return (None,) * len(of)
    found: tuple[Tensor | None, ...] = torch.autograd.grad(total, of, allow_unused=True)
    return found


def _check_reads(reads: list[_Read], units: int) -> None:
    for read in reads:
        if read.inputs.shape[0] != units:
            raise UnsupportedLayerError(
                f"a layer got {read.inputs.shape[0]} leading rows for {units} units:"
                " rows of different units cannot be told apart"
            )
        if read.output._version != read.version:
            raise UnsupportedLayerError("a layer's output was changed in place")


def _by_layer(reads: list[_Read], gradients: tuple[Tensor | None, ...]) -> Iterator[_Used]:
    """Yield the calls of each layer as one, joined along the units' own rows."""
    # The norm of a sum of gradients is not the sum of norms: separate calls have to be joined.
    calls: dict[Layer, list[tuple[Tensor, Tensor]]] = {}
    for read, gradient in zip(reads, gradients, strict=True):
        if gradient is None:
            continue
        layer, backprops = read.layer, unit_rows(gradient)
        if isinstance(layer, nn.Embedding):
            inputs = read.inputs.reshape(len(read.inputs), -1)
            backprops = gradient.reshape(*inputs.shape, layer.embedding_dim)
            backprops = without_padding(inputs, backprops, layer.padding_idx)
        else:
            inputs = unit_rows(read.inputs)
        calls.setdefault(layer, []).append((inputs, backprops))
    for layer, parts in calls.items():
        if len(parts) == 1:
            yield _Used(layer, *parts[0])
        else:
            inputs = torch.cat([part[0] for part in parts], dim=1)
            yield _Used(layer, inputs, torch.cat([part[1] for part in parts], dim=1))


def _squared_norms(use: _Used) -> Tensor:
    if isinstance(use.layer, nn.Linear):
        bias = use.layer.bias is not None
        return linear_squared_norms(use.inputs, use.backprops, bias=bias)
    return embedding_squared_norms(use.inputs, use.backprops)


def _mass(use: _Used) -> Tensor:
    if isinstance(use.layer, nn.Linear):
        return linear_mass(use.inputs, use.backprops, bias=use.layer.bias is not None)
    return embedding_mass(use.inputs, use.backprops)


def _gradients(use: _Used) -> tuple[Tensor | None, list[Tensor]]:
    """Return the rows of the parameters that one unit's use changes, None for all; and by how much.

    In the order of the layer's parameters, float64.
    """
    if isinstance(use.layer, nn.Linear):
        bias = use.layer.bias is not None
        return None, [part[0] for part in linear_gradients(use.inputs, use.backprops, bias=bias)]
    _, index, sums = embedding_gradients(use.inputs, use.backprops)
    return index, [sums]


def _add_weighted(use: _Used, factors: Tensor, into: Callable[[Tensor], Tensor]) -> None:
    """Add the sum over units of factor times gradient to what `into` gives for each parameter.

    In the precision of that: products of two float32 are exact in float64, and so only their
    addition errs.
    """
    total = into(use.layer.weight)
    rows = weighted(use.backprops, factors).to(total.dtype)
    if isinstance(use.layer, nn.Embedding):
        total.index_add_(0, use.inputs.flatten(), rows)
        return
    total.addmm_(rows.mT, use.inputs.flatten(0, 1).to(total.dtype))
    if use.layer.bias is not None:
        into(use.layer.bias).add_(rows.sum(0))


def _compare(name: str, found: Tensor, wanted: Tensor | None) -> None:
    wanted = torch.zeros_like(found) if wanted is None else wanted
    if not bool((found - wanted).norm() <= 1e-3 * wanted.norm() + 1e-6):
        raise UnsupportedLayerError(f"{name} is also used outside its layer's forward")
