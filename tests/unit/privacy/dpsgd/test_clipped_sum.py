"""The clipped sum that a noise share is added to: the same by all paths, and without any step."""

import pytest
import torch

INDEX = torch.tensor([0, 3, 5, 9, 23])


@pytest.mark.parametrize("path", ["hooks", "bookkeeping", "vectorised"])
@pytest.mark.parametrize("piece", [4096, 2])
def test_it_is_the_sum_of_separately_clipped_gradients(path, piece, settings, trainer, tools):
    case = tools.rating_customers()
    before = tools.flat_shared(case.model)
    expected = tools.clipped_sum(case, INDEX, 0.5)
    private = trainer(case, settings(path=path, clip_norm=0.5, piece=piece))
    for _ in range(2):  # nothing is left over from the time before
        found = private.clipped_sum(INDEX)
        assert (found - expected).norm() <= 1e-9 * max(1, expected.norm())
    assert torch.equal(tools.flat_shared(case.model), before)


@pytest.mark.parametrize("path", ["hooks", "bookkeeping", "vectorised"])
def test_an_empty_batch_has_the_sum_zero(path, settings, trainer, tools):
    case = tools.rating_customers()
    empty = torch.zeros(0, dtype=torch.int64)
    found = trainer(case, settings(path=path)).clipped_sum(empty)
    assert torch.equal(found, torch.zeros_like(tools.flat_shared(case.model)))


def test_one_unit_moves_the_sum_by_at_most_the_clip_norm(settings, trainer, tools):
    case = tools.rating_customers()
    private = trainer(case, settings(clip_norm=0.5))
    for unit in range(len(case.examples)):
        without = torch.tensor([index for index in range(len(case.examples)) if index != unit])
        everybody = private.clipped_sum(torch.arange(len(case.examples)))
        change = everybody - private.clipped_sum(without)
        assert change.norm() <= 0.5 * (1 + 1e-9)
