"""Norms of per-unit gradients of a layer, from its inputs and the gradients of its outputs.

`inputs` is the layer's input, `backprops` the gradient of the sum of the units' losses with
respect to its output. Row b of either belongs to unit b alone; the axes between the first and the
last are the unit's own rows, T of them in all.
"""

from __future__ import annotations

import torch
from torch import Tensor

_PAIRWISE_LIMIT = 32
"""Rows of a unit up to which comparing all pairs of indices is faster than sorting them."""
_INSTANTIATED_FLOATS = 1 << 22
"""Floats of instantiated gradients at a time: 16 MiB in float32."""


def unit_rows(tensor: Tensor) -> Tensor:
    """Return [B, ..., f] as [B, T, f]."""
    return tensor.reshape(tensor.shape[0], -1, tensor.shape[-1])


def linear_squared_norms(inputs: Tensor, backprops: Tensor, *, bias: bool) -> Tensor:
    """Return the squared norm of each unit's gradient of a linear layer.

    For one row it is |g|^2 |a|^2. For several, either sum_{s,t} (g_s g_t)(a_s a_t), the ghost norm
    (Goodfellow 2015; Li et al. 2022, section 4), or the norm of the gradient itself, whichever
    takes fewer multiplications.

    Args:
        inputs: [B, T, in].
        backprops: [B, T, out].
        bias: Whether the layer has a bias, whose gradient is sum_t g_t.

    Returns:
        A tensor [B].
    """
    rows, width, out = inputs.shape[1], inputs.shape[2], backprops.shape[2]
    if rows == 1:
        squared = _squared_lengths(inputs)
        return _squared_lengths(backprops) * (squared.add_(1) if bias else squared)
    if rows * (width + out) <= width * out:
        kernel = (inputs @ inputs.mT) * (backprops @ backprops.mT)
        # Rounding can push a vanishing norm below zero, and its root to NaN.
        weight = kernel.sum((1, 2)).clamp_min(0)
    else:
        size = max(1, _INSTANTIATED_FLOATS // (width * out))
        parts = zip(torch.split(backprops, size), torch.split(inputs, size), strict=True)
        weight = torch.cat([_squared_lengths(g.mT @ a) for g, a in parts])
    return weight + backprops.sum(1).square().sum(1) if bias else weight


def _squared_lengths(tensor: Tensor) -> Tensor:
    """Return the squared norm of each unit's rows together, [B] from [B, T, f]."""
    norms: Tensor = torch.linalg.vector_norm(tensor, dim=(1, 2))
    return norms.square_()


def weighted(backprops: Tensor, factors: Tensor) -> Tensor:
    """Return the rows [B * T, f] of `backprops` [B, T, f], each times its unit's factor [B]."""
    return (backprops * factors.view(-1, 1, 1)).flatten(0, 1)


def without_padding(indices: Tensor, backprops: Tensor, padding: int | None) -> Tensor:
    """Return `backprops` with zeros at the padding index, whose row is never trained."""
    if padding is None:
        return backprops
    return backprops * (indices != padding).unsqueeze(-1)


def embedding_squared_norms(indices: Tensor, backprops: Tensor) -> Tensor:
    """Return the squared norm of each unit's gradient of an embedding table.

    The sum over s, t with equal index of g_s g_t (docs/privacy.md): gradients of a row that one
    unit looks up more than once are added up before they are squared.

    Args:
        indices: int64 [B, T].
        backprops: [B, T, d], zero at padding.

    Returns:
        A tensor [B].
    """
    rows = indices.shape[1]
    if rows == 1:
        return _squared_lengths(backprops)
    if rows <= _PAIRWISE_LIMIT:
        same = indices[:, :, None] == indices[:, None, :]
        kernel = backprops @ backprops.mT
        return (kernel * same).sum((1, 2)).clamp_min(0)
    return _sorted_squared_norms(indices, backprops)


def _sorted_squared_norms(indices: Tensor, backprops: Tensor) -> Tensor:
    """Return the same as `embedding_squared_norms` by sorting: n log n in the rows of a unit."""
    batch, rows = indices.shape
    order = torch.argsort(indices, dim=1)
    ordered = indices.gather(1, order)
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    group = first.flatten().cumsum(0) - 1
    flat = (order + torch.arange(batch)[:, None] * rows).flatten()
    sums = backprops.new_zeros(int(group[-1]) + 1, backprops.shape[2])
    sums.index_add_(0, group, backprops.flatten(0, 1)[flat])
    owner = torch.arange(batch).repeat_interleave(first.sum(1))
    return backprops.new_zeros(batch).index_add_(0, owner, sums.square().sum(1))
