"""Which parameters leave a retailer: the one place where shared and local are split.

A module class lists in `local_parameters` the parameter names (or prefixes ending at a dot) that
stay at the member. Everything else is shared, and crosses the wire as one flat float32 vector in
the order of `named_parameters`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate, pairwise

import numpy as np
import torch
from torch import Tensor, nn

from securefl.ml.vectors import FloatVector, layout_digest


def _is_local(module: nn.Module, name: str) -> bool:
    prefixes: frozenset[str] = getattr(module, "local_parameters", frozenset())
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def _refuse_buffers(model: nn.Module) -> None:
    persistent = sorted(model.state_dict().keys() - dict(model.named_parameters()).keys())
    if persistent:
        raise ValueError(f"buffers cannot be federated: {', '.join(persistent)}")


def shared_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that are trained jointly, in wire order.

    Raises:
        ValueError: If the model has persistent buffers, which no mean over members makes sense of.
    """
    _refuse_buffers(model)
    return {n: p for n, p in model.named_parameters() if not _is_local(model, n)}


def local_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that never leave the member."""
    return {n: p for n, p in model.named_parameters() if _is_local(model, n)}


def shared_layout(model: nn.Module) -> bytes:
    """Return the digest of names and shapes of the shared parameters, in wire order, 32 bytes."""
    return layout_digest((n, tuple(p.shape)) for n, p in shared_parameters(model).items())


def shared_vector(model: nn.Module) -> FloatVector:
    """Return the shared parameters as one float32 vector [d], copied."""
    parts = [p.detach().reshape(-1) for p in shared_parameters(model).values()]
    vector: FloatVector = torch.cat(parts).to("cpu", torch.float32).numpy().copy()
    return vector


def shared_slices(model: nn.Module) -> tuple[slice, ...]:
    """Return where each shared parameter stands in the vector of `shared_vector`."""
    ends = [0, *accumulate(parameter.numel() for parameter in shared_parameters(model).values())]
    return tuple(slice(start, end) for start, end in pairwise(ends))


@torch.no_grad()
def load_shared(model: nn.Module, vector: FloatVector) -> None:
    """Write a shared vector [d] into the model.

    Raises:
        ValueError: If the vector does not have the model's length.
    """
    parameters = shared_parameters(model)
    expected = sum(p.numel() for p in parameters.values())
    if vector.shape != (expected,):
        raise ValueError(f"the shared model has {expected} coordinates, not {vector.shape}")
    source = torch.from_numpy(vector)
    start = 0
    for parameter in parameters.values():
        end = start + parameter.numel()
        parameter.copy_(source[start:end].view_as(parameter))
        start = end


def named_shared(model: nn.Module, vector: FloatVector) -> dict[str, Tensor]:
    """Return a shared vector cut into the model's named tensors, for a weights file."""
    tensors: dict[str, Tensor] = {}
    start = 0
    for name, parameter in shared_parameters(model).items():
        end = start + parameter.numel()
        tensors[name] = torch.from_numpy(vector[start:end].copy()).view(parameter.shape)
        start = end
    return tensors


def joined_shared(model: nn.Module, tensors: Mapping[str, Tensor]) -> FloatVector:
    """Return the inverse of `named_shared`.

    Raises:
        ValueError: If names or shapes are not those of the model.
    """
    parameters = shared_parameters(model)
    if tensors.keys() != parameters.keys():
        odd = sorted(tensors.keys() ^ parameters.keys())
        raise ValueError(f"the weights are of another model: {', '.join(odd[:3])} do not match")
    for name, parameter in parameters.items():
        if tensors[name].shape != parameter.shape:
            raise ValueError(
                f"the weights are of another model: {name} is {list(tensors[name].shape)},"
                f" not {list(parameter.shape)}"
            )
    return flat(tensors[name] for name in parameters)


def flat(tensors: Iterable[Tensor]) -> FloatVector:
    """Return the values of tensors, one after another, as one float32 vector."""
    parts = [tensor.reshape(-1).to(torch.float32) for tensor in tensors]
    return np.ascontiguousarray(torch.cat(parts).numpy())


def local_state(model: nn.Module) -> dict[str, Tensor]:
    """Return copies of the local parameters by name."""
    return {n: p.detach().clone() for n, p in local_parameters(model).items()}


@torch.no_grad()
def clear_local(model: nn.Module) -> None:
    """Set the parameters that never leave the member to zero."""
    for parameter in local_parameters(model).values():
        parameter.zero_()


@torch.no_grad()
def load_local(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Write local parameters back; names must be those of `local_state`."""
    for name, parameter in local_parameters(model).items():
        parameter.copy_(state[name])
