"""Optimizers without torch's compiler, which nothing here uses.

The first optimizer of a process imports `torch._dynamo`, a second of one core: some methods are
wrapped so that a compiler leaves them out, and the wrapper fetches the compiler for that; `step`
tells it where to break a graph. Without it the same numbers come out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

import torch

_WRAPPED: Final = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
_KEPT_AS: Final = "__dynamo_disable"
_ADAM_STEP: Final = inspect.unwrap(torch.optim.Adam.step)
_SGD_STEP: Final = inspect.unwrap(torch.optim.SGD.step)


class Adam(torch.optim.Adam):
    """`torch.optim.Adam`, by Kingma and Ba 2015 (arXiv:1412.6980), algorithm 1."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # noqa: ANN401 - as there
        """See `torch.optim.Adam.step`; not differentiable."""
        return _ADAM_STEP(self, closure)


class SGD(torch.optim.SGD):
    """`torch.optim.SGD`: gradient descent with momentum."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # noqa: ANN401 - as there
        """See `torch.optim.SGD.step`; not differentiable."""
        return _SGD_STEP(self, closure)


def _leave_compiler_out() -> None:
    """Put each method where its wrapper keeps what the compiler made of it; see above."""
    for name in _WRAPPED:
        # Where torch wraps it otherwise, nothing is saved, and nothing is wrong.
        method = getattr(getattr(torch.optim.Optimizer, name), "__wrapped__", None)
        if method is not None and not hasattr(method, _KEPT_AS):
            setattr(method, _KEPT_AS, method)


_leave_compiler_out()
