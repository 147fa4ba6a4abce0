"""Units and parameters that are made up, on which a model's layers are checked.

A check on real units would be a function of customers, and its refusal a release without noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor, nn

from securefl.ml.batches import Batch, Examples
from securefl.ml.parameters import shared_parameters

_UNITS: Final = 5
_ROWS: Final = 3
_SEED: Final = 174
_DEVIATION: Final = 0.3


def synthetic_units(examples: Examples) -> Batch:
    """Return a batch of made-up units of the same kind as a member's.

    An empty batch tells types and public sizes of its parts, and reads no unit. Numbers are
    uniform in 0.1..1; indices are 0, and 1 from a unit's second row on; booleans alternate.
    """
    generator = torch.Generator().manual_seed(_SEED)
    empty = examples.batch(torch.zeros(0, dtype=torch.int64))
    return tuple(_filled(part, generator) for part in empty)


def _filled(empty: Tensor, generator: torch.Generator) -> Tensor:
    # An axis without length is one whose length the units decide.
    shape = (_UNITS, *(length or _ROWS for length in empty.shape[1:]))
    if empty.is_floating_point():
        return torch.rand(shape, generator=generator, dtype=empty.dtype) * 0.9 + 0.1
    last = torch.arange(shape[-1]) if len(shape) > 1 else torch.zeros(_UNITS)
    if empty.dtype == torch.bool:
        return (last % 2 == 0).expand(shape).clone()
    return last.clamp(max=1).to(empty.dtype).expand(shape).clone()


@contextmanager
def made_up_parameters(model: nn.Module) -> Iterator[None]:
    """Let the shared parameters be small random numbers, and restore them and torch's generator.

    At zero, where many begin, gradients vanish, and a check would pass for any layer.
    """
    generator = torch.Generator().manual_seed(_SEED)
    parameters = list(shared_parameters(model).values())
    before = [parameter.detach().clone() for parameter in parameters]
    state = torch.get_rng_state()
    try:
        with torch.no_grad():
            for parameter in parameters:
                parameter.normal_(std=_DEVIATION, generator=generator)
        yield
    finally:
        with torch.no_grad():
            for parameter, kept in zip(parameters, before, strict=True):
                parameter.copy_(kept)
        torch.set_rng_state(state)
