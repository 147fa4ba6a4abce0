"""The clipped sum that a noise share is added to: the same by all paths, and without any step."""

from fractions import Fraction

import pytest
import torch

from securefl.privacy.dpsgd.carried_sum import CarriedSum
from securefl.privacy.dpsgd.poisson_sampling import SamplingPlan

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
def test_a_caller_without_gradients_changes_nothing(path, settings, trainer, tools):
    """A part of the sum that is left out in silence is noise with nothing beneath it."""
    case = tools.rating_customers()
    private = trainer(case, settings(path=path, clip_norm=0.5))
    expected = private.clipped_sum(INDEX)
    with torch.no_grad():
        found = private.clipped_sum(INDEX)
    assert torch.equal(found, expected)
    assert found.norm() > 0


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


@pytest.mark.parametrize("path", ["hooks", "bookkeeping", "vectorised"])
def test_large_batch_is_summed_and_not_refused(path, settings, trainer, tools, monkeypatch):
    """Its pieces are carried with their rounding errors: the same sum, and a step as before."""
    case = tools.rating_customers()
    every = torch.arange(len(case.examples))
    private = trainer(case, settings(path=path, clip_norm=0.5, piece=3))
    plain = private.clipped_sum(every)
    monkeypatch.setattr("securefl.privacy.dpsgd.trainer.LARGEST_PLAIN_SUM", 4)
    carried = private.clipped_sum(every)
    assert not torch.equal(plain, torch.zeros_like(plain))
    assert (carried - plain).norm() <= 1e-14 * plain.norm()
    assert torch.equal(private.clipped_sum(every), carried)  # nothing is left over
    before = tools.flat_shared(case.model)
    private.train_round()
    assert not torch.equal(tools.flat_shared(case.model), before)


def test_no_number_of_units_is_refused(settings, trainer, tools):
    """One customer above an exact number would decide whether a member takes part."""
    case = tools.rating_rows(units=66_000)
    private = trainer(case, settings(path="bookkeeping", sampling=SamplingPlan(0.01, 1, 660.0)))
    private.train_round()
    assert torch.isfinite(tools.flat_shared(case.model)).all()


def test_carried_sum_keeps_what_a_sum_rounds_away():
    """Against whole-number arithmetic, where a plain sum loses ten times as much."""
    generator = torch.Generator().manual_seed(0)
    carried, plain, exact = CarriedSum(1), torch.zeros(1, dtype=torch.float64), Fraction(0)
    for power in range(4000):
        term = torch.randn(1, dtype=torch.float64, generator=generator) * 10.0 ** (power % 9)
        carried.add(term)
        plain += term
        exact += Fraction(term.item())
    lost = abs(float(exact - Fraction(carried.value().item())))
    assert lost <= abs(float(exact)) * 2.0**-52
    assert abs(float(exact - Fraction(plain.item()))) > 10 * lost
