"""Drawn purchases and denoised lists, on which tables of docs/results rest."""

import sys
from importlib import import_module

import numpy as np
import pytest
import torch

from support.paths import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bench():
    """Imports a module of the benchmarks of this checkout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        before = set(sys.modules)
        yield import_module
        for name in set(sys.modules) - before:
            if (ROOT / "benchmarks" / f"{name}.py").exists():
                patch.delitem(sys.modules, name)


def test_drawn_purchases_follow_from_the_seed(bench):
    """Each retailer sells a part of the products, and its customers buy nothing else."""
    data = bench("retailer_data")
    settings = data.Drawn(products=300, customers=(40, 30), weeks=26, sold=0.6)
    one, two = data.drawn(settings), data.drawn(settings)
    for first, second in zip(one.members, two.members, strict=True):
        assert first.transactions.equals(second.transactions)
    other = data.drawn(data.Drawn(products=300, customers=(40, 30), weeks=26, sold=0.6, seed=1))
    assert not one.members[0].transactions.equals(other.members[0].transactions)
    sold = [set(member.transactions["product"]) for member in one.members]
    assert all(100 < len(products) < 210 for products in sold)
    assert sold[0] != sold[1]
    times = one.members[0].transactions["time"]
    assert (times.max() - times.min()).days < 26 * 7


def test_lines_repeat_earlier_lines_of_their_customer(bench):
    data = bench("retailer_data")
    customer = np.repeat([0, 1], 500)
    product = np.arange(1000)
    found = data._repeated(product, customer, 0.5, np.random.default_rng(0))
    assert (found <= product).all()
    assert (found[500:] >= 500).all()
    assert 0.4 < (found != product).mean() < 0.6


def test_denoising_without_groups_keeps_the_order(bench):
    """And with groups, products of a group that sells more are trusted more."""
    lists = bench("denoised_lists")
    generator = torch.Generator().manual_seed(0)
    true = torch.cat([torch.full((100,), 2.0), torch.full((100,), 30.0)]).double()
    noised = true + 10 * torch.randn(200, generator=generator, dtype=torch.float64)
    together = lists.denoised(noised, torch.zeros(200, dtype=torch.int64), 10.0)
    assert torch.equal(together.argsort(), noised.argsort())
    groups = torch.repeat_interleave(torch.arange(2), 100)
    apart = lists.denoised(noised, groups, 10.0)
    error = [(one - true).square().mean() for one in (noised, together, apart)]
    assert error[2] < error[1] < error[0]
    assert torch.equal(lists.denoised(noised, groups, 0.0), noised)
