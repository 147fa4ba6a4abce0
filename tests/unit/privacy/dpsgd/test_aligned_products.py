"""Products on rows that are filled up: the same numbers, and the same for equal rows."""

import pytest
import torch

from securefl.privacy.dpsgd.aligned_products import AlignedProducts

ROWS = 32
PRODUCTS = {
    "linear": lambda x, w: torch.nn.functional.linear(x, w, w[:, 0]),
    "mm": lambda x, w: x @ w.T,
    "mv": lambda x, w: x @ w[0],
    "bmm": lambda x, w: (x[:, None] @ w.T.expand(ROWS, -1, -1))[:, 0],
    "einsum": lambda x, w: torch.einsum("bd,bcd->bc", x, w.expand(ROWS, -1, -1)),
    "baddbmm": lambda x, w: torch.baddbmm(
        w[:, :1].mT.expand(ROWS, 1, -1), x[:, None], w.T.expand(ROWS, -1, -1), alpha=2, beta=3
    )[:, 0],
}


def values(product, dtype, inner, outer):
    """A product of equal rows, and its derivative by them."""
    draw = torch.Generator().manual_seed(2)
    row, weight = (torch.randn(n, inner, generator=draw, dtype=dtype) for n in (1, outer))
    rows = row.repeat(ROWS, 1).requires_grad_()
    found = product(rows, weight)
    found.square().sum().backward()
    return found.detach(), rows.grad


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("inner", "outer"), [(221, 7), (7, 221), (16, 32), (1, 1)])
def test_equal_rows_have_equal_products(name, dtype, inner, outer):
    """Forward and backward, to the last digit, and what they are without."""
    wanted = values(PRODUCTS[name], dtype, inner, outer)
    with AlignedProducts():
        found = values(PRODUCTS[name], dtype, inner, outer)
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one, one[:1].expand_as(one))
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
