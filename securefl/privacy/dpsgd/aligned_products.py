"""Products of matrices that round a row alike wherever it stands in a batch.

A product of matrices adds the numbers of a row in an order that follows from where the row begins
in memory. Where rows are an odd number of floats long, that is another place of a line of the cache
for every row: one unit less moves all others up by one, and weights made for it turn the last digit
into another gradient for all. So while units go through a model, the rows of every product are
filled up with zeros to whole lines, in the pass forward and in that backward.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

_LINE: Final = 16
"""Numbers to a multiple of which rows are filled up: 64 bytes in single precision."""


class AlignedProducts(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Computes every product of matrices on rows of whole lines of the cache while it is on."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return whether torch keeps its compiler out, for which it would import all of it."""
        return False

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - an operator of torch, which has no type of its own
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - what the operator returns
        """See `TorchDispatchMode`."""
        del types
        return _FILLED.get(func, func)(*args, **(kwargs or {}))


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Return the product of matrices, or of batches of matrices."""
    inner, outer = -left.shape[-1] % _LINE, -right.shape[-1] % _LINE
    if left.shape[-1] == right.shape[-1] == 1 or not inner + outer:
        return left @ right  # one number times another is rounded once, wherever it stands
    found = functional.pad(left, (0, inner)) @ functional.pad(right, (0, outer, 0, inner))
    # A copy: what an operation returns is a whole tensor.
    return found[..., : right.shape[-1]].contiguous()


def _added(to: Tensor, left: Tensor, right: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """Return a product of matrices, or of batches of them, added to what is given."""
    found = _product(left, right)
    return (to if beta == 1 else beta * to) + (found if alpha == 1 else alpha * found)


def _by_vector(matrix: Tensor, vector: Tensor) -> Tensor:
    """Return the product of a matrix with a vector."""
    return _product(matrix, vector[:, None])[:, 0].contiguous()


_FILLED: Final[Mapping[Any, Callable[..., Tensor]]] = {
    torch.ops.aten.mm.default: _product,
    torch.ops.aten.bmm.default: _product,
    torch.ops.aten.mv.default: _by_vector,
    torch.ops.aten.addmm.default: _added,
    torch.ops.aten.baddbmm.default: _added,
}
