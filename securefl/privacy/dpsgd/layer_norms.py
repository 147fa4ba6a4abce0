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
_EXTREME = 1e25
"""Length of a layer's input beyond which clipped gradients are computed in double precision."""


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
        A tensor [B], float64.
    """
    rows, width, out = inputs.shape[1], inputs.shape[2], backprops.shape[2]
    if rows == 1:
        squared = _squared_lengths(inputs)
        return _squared_lengths(backprops) * (squared.add_(1) if bias else squared)
    if rows * (width + out) <= width * out:
        # In double precision: terms of opposite sign cancel, and what is left of them in single
        # precision can be smaller than the true norm, or negative.
        a, g = inputs.double(), backprops.double()
        weight = ((a @ a.mT) * (g @ g.mT)).sum((1, 2)).clamp_min(0)
    else:
        size = max(1, _INSTANTIATED_FLOATS // (width * out))
        parts = zip(torch.split(backprops, size), torch.split(inputs, size), strict=True)
        weight = torch.cat([_squared_lengths(g.mT @ a) for g, a in parts])
    return weight + _squared_lengths(backprops.sum(1, keepdim=True)) if bias else weight


def linear_mass(inputs: Tensor, backprops: Tensor, *, bias: bool) -> Tensor:
    """Return sum_t |g_t| |a_t| of each unit, float64 [B], inf where the inputs are extreme.

    Times the unit roundoff, it bounds how far rounding moves the unit's summed gradient (Higham
    2002, section 3.5), which the norm of the gradient does not where its terms cancel.
    """
    a, g = (torch.linalg.vector_norm(part, dim=2).double() for part in (inputs, backprops))
    # Beyond it a clipped backprop would be a subnormal number, which has few digits.
    extreme = (a > _EXTREME).any(1)
    total = (g * (a.square() + 1).sqrt() if bias else g * a).sum(1)
    bound: Tensor = total.masked_fill(extreme, torch.inf)
    return bound


def embedding_mass(indices: Tensor, backprops: Tensor) -> Tensor:
    """Return the same of an embedding: the norm over its rows of the sums of |g_t|, [B]."""
    lengths = torch.linalg.vector_norm(backprops, dim=2, keepdim=True)
    return embedding_squared_norms(indices, lengths).sqrt()


def linear_gradients(inputs: Tensor, backprops: Tensor, *, bias: bool) -> list[Tensor]:
    """Return each unit's gradients themselves, float64: weight [B, out, in], then bias [B, out]."""
    a, g = inputs.double(), backprops.double()
    return [g.mT @ a, g.sum(1)] if bias else [g.mT @ a]


def embedding_gradients(indices: Tensor, backprops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return each unit's gradient itself, one row an index that it looked up.

    Returns:
        Unit of each row, int64 [G]; its index, int64 [G]; and the gradient, float64 [G, d].
    """
    batch, rows = indices.shape
    order = torch.argsort(indices, dim=1)
    ordered = indices.gather(1, order)
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    group = first.flatten().cumsum(0) - 1
    flat = (order + torch.arange(batch)[:, None] * rows).flatten()
    sums = torch.zeros(int(first.sum()), backprops.shape[2], dtype=torch.float64)
    sums.index_add_(0, group, backprops.flatten(0, 1)[flat].double())
    owner = torch.arange(batch).repeat_interleave(first.sum(1))
    return owner, ordered[first], sums


def _squared_lengths(tensor: Tensor) -> Tensor:
    """Return the squared norm of each unit's rows together, float64 [B] from [B, T, f]."""
    norms: Tensor = torch.linalg.vector_norm(tensor, dim=(1, 2), dtype=torch.float64)
    return norms.square_()


def weighted(backprops: Tensor, factors: Tensor) -> Tensor:
    """Return the rows [B * T, f] of `backprops` [B, T, f], each times its unit's factor [B]."""
    scaled = backprops * factors.to(backprops.dtype).view(-1, 1, 1)
    return scaled.flatten(0, 1)


def without_padding(indices: Tensor, backprops: Tensor, padding: int | None) -> Tensor:
    """Return `backprops` with zeros at the padding index, whose row is never trained."""
    if padding is None:
        return backprops
    return backprops * (indices != padding).unsqueeze(-1)


def embedding_squared_norms(indices: Tensor, backprops: Tensor) -> Tensor:
    """Return the squared norm of each unit's gradient of an embedding table.

    The sum over s, t with equal index of g_s g_t (docs/explanation/privacy.md): gradients of a row
    that one unit looks up more than once are added up before they are squared.

    Args:
        indices: int64 [B, T].
        backprops: [B, T, d], zero at padding.

    Returns:
        A tensor [B], float64.
    """
    rows = indices.shape[1]
    if rows == 1:
        return _squared_lengths(backprops)
    if rows <= _PAIRWISE_LIMIT:
        same = indices[:, :, None] == indices[:, None, :]
        g = backprops.double()
        return ((g @ g.mT) * same).sum((1, 2)).clamp_min(0)
    owner, _, sums = embedding_gradients(indices, backprops)
    squared = torch.zeros(len(indices), dtype=torch.float64)
    return squared.index_add_(0, owner, sums.square().sum(1))
