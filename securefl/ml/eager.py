"""Training without torch's compiler, which nothing here uses.

The first optimizer of a process imports `torch._dynamo`, a second of one core: its methods are
wrapped so that a compiler leaves them out, and the wrapper fetches the compiler for that. It keeps
what it fetched beside the method; here the method itself is put there instead.
"""

from __future__ import annotations

from typing import Final

from torch.optim import Optimizer

_WRAPPED: Final = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
_KEPT_AS: Final = "__dynamo_disable"


def leave_compiler_out() -> None:
    """Keep optimizers from importing the compiler; where torch wraps them otherwise, do nothing."""
    for name in _WRAPPED:
        method = getattr(getattr(Optimizer, name), "__wrapped__", None)
        if method is not None and not hasattr(method, _KEPT_AS):
            setattr(method, _KEPT_AS, method)
