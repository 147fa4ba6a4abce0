"""Lazy noise is dense noise in distribution, whenever anybody looks."""

import math

import pytest
import torch
from scipy import stats
from torch import nn

from securefl.privacy.dpsgd.lazy_noise import LazyNoiseTable
from securefl.privacy.dpsgd.poisson_sampling import SamplingPlan
from securefl.privacy.noise.csprng import AesCtrRng
from securefl.privacy.noise.gaussian import GaussianNoise

KEY = bytes(range(32))
ROWS, WIDTH = 400, 8


def _table(std=2.0, batch=4.0, key=KEY):
    embedding = nn.Embedding(ROWS, WIDTH)
    nn.init.zeros_(embedding.weight)
    noise = GaussianNoise(AesCtrRng.insecure_for_tests(key))
    return embedding, LazyNoiseTable(embedding, noise, std=std, expected_batch=batch)


def test_rows_that_are_read_have_all_noise_so_far_and_others_none():
    embedding, lazy = _table()
    for rate in (1.0, 0.5, 0.25):
        lazy.step(rate)
    assert not lazy.is_current
    read = embedding(torch.arange(0, ROWS, 2))
    deviation = 2.0 / 4.0 * math.sqrt(1 + 0.25 + 0.0625)
    assert stats.kstest((read / deviation).detach().flatten().numpy(), "norm").pvalue > 1e-3
    assert (embedding.weight[1::2] == 0).all()
    again = embedding(torch.arange(0, ROWS, 2))
    assert torch.equal(read, again)


def test_after_a_flush_every_row_has_the_sum_whatever_was_read_when():
    embedding, lazy = _table()
    for step in range(12):
        embedding(torch.arange(0, ROWS, step + 1))
        lazy.step(1.0)
    lazy.flush()
    assert lazy.is_current
    scaled = (embedding.weight / (2.0 / 4.0 * math.sqrt(12))).detach()
    often, seldom = scaled[0::12].flatten(), scaled[1::2].flatten()
    for part in (often, seldom, scaled.flatten()):
        assert stats.kstest(part.numpy(), "norm").pvalue > 1e-3
        assert stats.chi2.cdf(float(part.square().sum()), len(part)) == pytest.approx(
            0.5, abs=0.4995
        )
    assert abs((scaled[:-1] * scaled[1:]).mean()) < 5 / math.sqrt(scaled.numel())


def test_increments_between_two_readings_are_independent_with_the_right_variance():
    embedding, lazy = _table()
    rows = torch.arange(ROWS)
    values = []
    for steps in (1, 5, 2):
        for _ in range(steps):
            lazy.step(1.0)
        values.append(embedding(rows).detach().clone())
    first, second, third = values[0], values[1] - values[0], values[2] - values[1]
    for increment, steps in ((first, 1), (second, 5), (third, 2)):
        assert increment.std().item() == pytest.approx(0.5 * math.sqrt(steps), rel=0.06)
    for a, b in ((first, second), (second, third)):
        correlation = (a * b).mean() / (a.std() * b.std())
        assert abs(correlation) < 5 / math.sqrt(a.numel())


def test_two_flushes_without_a_step_add_nothing():
    embedding, lazy = _table()
    lazy.step(1.0)
    lazy.flush()
    once = embedding.weight.detach().clone()
    lazy.flush()
    assert torch.equal(embedding.weight, once)


def test_the_naive_version_that_forgets_the_rows_nobody_read_has_no_noise_there():
    """Noise on touched rows alone publishes which rows a customer touched."""
    embedding, lazy = _table()
    embedding(torch.tensor([3]))
    lazy.step(1.0)
    embedding(torch.tensor([3]))
    assert (embedding.weight != 0).any(dim=1).nonzero().flatten().tolist() == [3]
    lazy.flush()
    assert (embedding.weight != 0).all()


@pytest.mark.parametrize("make", ["rating_customers", "histories"])
def test_without_noise_lazy_training_is_dense_training(make, settings, trainer, tools):
    finals = []
    for lazy_rows in (None, 8):
        torch.manual_seed(3)
        case = getattr(tools, make)()
        private = trainer(case, settings(lazy_rows=lazy_rows), key=KEY)
        assert len(private.tables) == (lazy_rows is not None)
        private.train_round()
        finals.append(tools.flat_shared(case.model))
    assert torch.allclose(finals[0], finals[1], atol=1e-9)


def test_lazy_and_dense_runs_release_the_same_distribution(settings, trainer, tools):
    """Two-sample Kolmogorov-Smirnov over many short runs, on read and on unread rows."""
    plan = SamplingPlan(rate=0.2, steps=4, expected_batch=4.8)
    released = {}
    for lazy_rows in (None, 8):
        rows = []
        for _ in range(60):
            torch.manual_seed(3)
            case = tools.rating_rows()
            start = case.model.item.weight.detach().clone()
            common = {"sampling": plan, "noise_multiplier": 1.0, "lazy_rows": lazy_rows}
            trainer(case, settings(**common)).train_round()
            rows.append((case.model.item.weight.detach() - start).flatten())
        released[lazy_rows] = torch.stack(rows)
    dense, lazy = released[None], released[8]
    assert stats.ks_2samp(dense.flatten().numpy(), lazy.flatten().numpy()).pvalue > 1e-3
    assert lazy.std().item() == pytest.approx(dense.std().item(), rel=0.03)
    assert (lazy.mean(0) - dense.mean(0)).abs().max() < 6 * dense.std() * math.sqrt(2 / 60)


def test_every_round_ends_releasable(settings, trainer, tools):
    private = trainer(tools.rating_customers(), settings(lazy_rows=8, noise_multiplier=1.0))
    for _ in range(2):
        private.train_round()
        assert all(table.is_current for table in private.tables.values())


def test_a_model_of_nothing_but_lazy_tables_is_refused(settings, trainer, tools):
    with pytest.raises(ValueError, match="nothing but lazy"):
        trainer(tools.local_vectors(), settings(lazy_rows=2))
