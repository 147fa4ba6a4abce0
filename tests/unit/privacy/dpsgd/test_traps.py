"""Ways in which private training has quietly not been private, each with its naive version."""

import copy

import numpy as np
import pytest
import torch
from opacus import GradSampleModule
from opacus.grad_sample import GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizer
from opacus.optimizers.optimizer_fast_gradient_clipping import DPOptimizerFastGradientClipping
from scipy import stats
from torch import nn
from torch.nn import functional

from securefl.privacy.dpsgd.optimizers import (
    BookkeepingOptimizer,
    HooksOptimizer,
    PrivacyBypassError,
)
from securefl.privacy.dpsgd.per_example import clip_factors
from securefl.privacy.dpsgd.poisson_sampling import SamplingPlan
from securefl.privacy.dpsgd.private_rows import MixedUnitsError
from securefl.privacy.noise.csprng import AesCtrRng
from securefl.privacy.noise.direct_tables import DirectTables
from securefl.privacy.noise.grid import Grid, GridNoise

PATHS = ("hooks", "bookkeeping", "vectorised")
KEY = bytes(range(32))

pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing")


@pytest.mark.parametrize("path", PATHS)
def test_noise_of_the_stated_variance_is_in_every_coordinate(path, settings, trainer, tools):
    """Zero gradients: after one step with rate 1 the parameters moved by sigma C / (q N)."""
    case = tools.rating_rows()
    case.loss = lambda model, batch: model(batch[0], batch[1]).sum(1) * 0
    private = trainer(case, settings(path=path, noise_multiplier=1.5, clip_norm=0.6))
    moved = []
    for index in (torch.arange(24), torch.zeros(0, dtype=torch.int64)) * 8:
        before = tools.flat_shared(case.model)
        private.step(index)
        moved.append(tools.flat_shared(case.model) - before)
    scaled = torch.cat(moved) / (1.5 * 0.6 / 8)
    assert stats.chi2.cdf(float(scaled.square().sum()), len(scaled)) == pytest.approx(
        0.5, abs=0.499
    )
    assert stats.kstest(scaled.numpy(), "norm").pvalue > 1e-3


@pytest.mark.parametrize("path", PATHS)
def test_no_customer_moves_the_sum_by_more_than_the_clip_norm(path, settings, trainer, tools):
    """Observed in a run: each step is repeated without one customer of the batch."""
    case = tools.rating_customers()
    plan = SamplingPlan(rate=0.3, steps=6, expected_batch=1.0)
    private = trainer(case, settings(path=path, clip_norm=0.05, sampling=plan))
    largest, steps = 0.0, 0
    for index in private.sampler:
        for left_out in range(min(3, len(index))):
            start = {n: p.clone() for n, p in case.model.state_dict().items()}
            private.step(index)
            whole = tools.flat_shared(case.model)
            case.model.load_state_dict(start)
            private.step(torch.cat([index[:left_out], index[left_out + 1 :]]))
            largest = max(largest, float((whole - tools.flat_shared(case.model)).norm()))
            steps += 1
    assert steps > 5
    assert 0.05 * 0.999 < largest <= 0.05 * (1 + 1e-6)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e200])
def test_a_record_without_a_finite_gradient_contributes_nothing(
    path, bad, settings, trainer, tools
):
    case = tools.squared_error()
    good = torch.tensor([1, 2, 7])
    expected = tools.clipped_sum(case, good, 0.7)
    case.examples.tensors[2][4] = bad
    case.examples.tensors[0][5, 1, 1, 1] = bad if bad != 1e200 else float("nan")
    before = tools.flat_shared(case.model)
    trainer(case, settings(path=path)).step(torch.tensor([1, 2, 4, 5, 7]))
    found = (before - tools.flat_shared(case.model)) * 8
    assert torch.allclose(found, expected, atol=1e-9)


def test_the_naive_clip_lets_nan_through():
    gradients = torch.tensor([[1.0, 1.0], [float("nan"), 1.0]])
    factors = clip_factors(gradients.norm(dim=1), 1.0)
    assert (factors[:, None] * gradients).sum(0).isnan().any()


@pytest.mark.parametrize("path", PATHS)
def test_the_inner_optimizer_alone_does_nothing(path, settings, trainer, tools):
    case = tools.rating_rows()
    private = trainer(case, settings(path=path))
    index = torch.tensor([1, 2, 3])
    before = tools.flat_shared(case.model)
    private.optimizer.zero_grad()
    private.rows.begin(index)
    private.path.accumulate(case.loss, case.examples.batch(index))
    with pytest.raises(PrivacyBypassError):
        private.optimizer.original_optimizer.step()
    assert torch.equal(tools.flat_shared(case.model), before)
    assert all(p.grad is None for p in case.model.parameters())
    private.step(index)
    with pytest.raises(PrivacyBypassError):
        private.optimizer.original_optimizer.step()


def test_the_naive_inner_optimizer_trains_on_raw_gradients(tools):
    case = tools.rating_rows()
    module = GradSampleModule(case.model, loss_reduction="sum")
    inner = torch.optim.SGD(module.parameters(), lr=1.0)
    optimizer = DPOptimizer(inner, noise_multiplier=1.0, max_grad_norm=1e-9, expected_batch_size=8)
    batch = case.examples.batch(torch.arange(24))
    before = tools.flat_shared(case.model)
    case.loss(module, batch).sum().backward()
    optimizer.original_optimizer.step()
    assert (tools.flat_shared(case.model) - before).norm() > 0.1


def test_bookkeeping_has_no_per_unit_gradient_to_clip(settings, trainer, tools):
    private = trainer(tools.rating_rows(), settings())
    assert isinstance(private.optimizer, BookkeepingOptimizer)
    with pytest.raises(PrivacyBypassError):
        private.optimizer.clip_and_accumulate()


def test_naive_ghost_with_a_plain_loss_does_not_clip(tools):
    """Opacus clips in a wrapper of the loss; every path here clips by itself (see below)."""
    case = tools.rating_rows()
    module = GradSampleModuleFastGradientClipping(
        case.model, loss_reduction="sum", max_grad_norm=1e-3
    )
    inner = torch.optim.SGD(module.parameters(), lr=1.0)
    optimizer = DPOptimizerFastGradientClipping(
        inner, noise_multiplier=0.0, max_grad_norm=1e-3, expected_batch_size=8
    )
    before = tools.flat_shared(case.model)
    case.loss(module, case.examples.batch(torch.arange(24))).sum().backward()
    optimizer.step()
    assert (tools.flat_shared(case.model) - before).norm() * 8 > 24 * 1e-3


@pytest.mark.parametrize("path", PATHS)
def test_a_path_clips_with_a_plain_loss(path, settings, trainer, tools):
    case = tools.rating_rows()
    before = tools.flat_shared(case.model)
    trainer(case, settings(path=path, clip_norm=1e-3)).step(torch.arange(24))
    assert (tools.flat_shared(case.model) - before).norm() * 8 <= 24 * 1e-3


class _TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.heads = nn.ModuleList([nn.Linear(4, 1), nn.Linear(4, 1)])
        self.active = 0

    def forward(self, features):
        hidden = torch.tanh(self.body(features))
        outputs = [head(hidden)[:, 0] for head in self.heads]
        return outputs[self.active]


def _heads(tools):
    data = (torch.randn(24, 4), torch.randn(24) * 100)

    def loss(model, batch):
        return (model(batch[0]) - batch[1]).square()

    return tools.Case(_TwoHeads(), tools.rating_rows().examples.__class__(data), loss)


@pytest.mark.parametrize("path", PATHS)
def test_a_head_that_is_not_used_has_no_stale_norm(path, settings, trainer, tools):
    """Both heads run, one is in the loss; the next step uses the other one."""
    case = _heads(tools)
    plain = copy.deepcopy(case)
    private = trainer(case, settings(path=path, clip_norm=0.5, learning_rate=1e-3))
    for active, index in ((0, torch.arange(5)), (1, torch.arange(7, 10)), (0, torch.arange(4))):
        case.model.active = active
        before = tools.flat_shared(case.model)
        plain.model.active = active
        plain.model.load_state_dict(case.model.state_dict())
        expected = tools.clipped_sum(plain, index, 0.5)
        private.step(index)
        found = (before - tools.flat_shared(case.model)) * 8e3
        assert torch.allclose(found, expected, atol=1e-7)


def test_naive_ghost_reuses_the_stale_norm(tools):
    case = _heads(tools)
    module = GradSampleModuleFastGradientClipping(
        case.model, loss_reduction="sum", max_grad_norm=0.5
    )
    index = torch.arange(3)
    for active in (0, 1):
        case.model.active = active
        try:
            case.loss(module, case.examples.batch(index)).sum().backward()
        except NotImplementedError:  # "parameter tying": its counter is off by the unused head
            return
        module.zero_grad()
    found = module.get_norm_sample()
    expected = tools.unit_gradients(case, index).norm(dim=1)
    assert not torch.allclose(found, expected)


@pytest.mark.parametrize("kind", [GradSampleModule, GradSampleModuleFastGradientClipping])
def test_the_naive_paths_count_the_padding_row(kind):
    layer = nn.Embedding(4, 2, padding_idx=0)
    module = kind(nn.Sequential(layer), loss_reduction="sum")
    module(torch.tensor([[1, 0, 0], [0, 0, 0]])).sum().backward()
    if kind is GradSampleModule:
        assert layer.weight.grad_sample[:, 0].abs().sum() > 0
    else:
        assert layer.weight._norm_sample[1] > 0
    assert layer.weight.grad[0].abs().sum() == 0


@pytest.mark.parametrize("path", PATHS)
def test_the_padding_row_is_moved_by_noise_alone(path, settings, trainer, tools):
    case = tools.short_histories()
    before = case.model.history.weight[0].clone()
    trainer(case, settings(path=path, clip_norm=100.0)).step(torch.arange(24))
    assert torch.equal(case.model.history.weight[0], before)


def test_naive_same_seed_at_two_members_cancels_the_noise():
    stored = torch.get_rng_state()
    seeded = []
    for _ in range(2):
        torch.manual_seed(7)
        seeded.append(torch.randn(100))
    torch.set_rng_state(stored)
    assert torch.equal(seeded[0] - seeded[1], torch.zeros(100))


def test_members_with_equal_configurations_differ_in_every_coordinate(settings, trainer, tools):
    moved = []
    for _ in range(2):
        torch.manual_seed(7)
        case = tools.rating_rows()
        before = tools.flat_shared(case.model)
        trainer(case, settings(noise_multiplier=1.0)).step(torch.zeros(0, dtype=torch.int64))
        moved.append(tools.flat_shared(case.model) - before)
    assert (moved[0] != moved[1]).all()


def test_a_round_is_charged_before_its_first_batch_is_drawn(settings, trainer, tools):
    case = tools.rating_rows()
    private = trainer(case, settings(noise_multiplier=1.0))

    def failing(model, batch):
        raise OSError("power cut")

    private.loss = failing
    private.sampler = type(private.sampler)(
        SamplingPlan(rate=1.0, steps=3, expected_batch=8.0), 24, AesCtrRng()
    )
    with pytest.raises(OSError, match="power"):
        private.train_round()
    assert private.accountant.steps == 3


def test_rounds_add_up_and_the_public_constants_do_not_move(settings, trainer, tools):
    private = trainer(tools.rating_rows(), settings(noise_multiplier=1.0))
    first = None
    for number in (1, 2, 3):
        private.train_round()
        spent = private.accountant.epsilon(1e-5)
        first = first or spent
        assert private.accountant.steps == 3 * number
    assert spent > 1.2 * first
    assert private.optimizer.expected_batch_size == 8.0


class TestLocalRows:
    @pytest.mark.parametrize("path", PATHS)
    def test_rows_learn_without_noise_and_without_clipping(self, path, settings, trainer, tools):
        case = tools.local_vectors()
        index = torch.tensor([2, 5, 11])
        batch = case.examples.batch(index)
        before = case.model.user.weight.detach().clone()
        loss = case.loss(case.model, batch).sum()
        expected = torch.autograd.grad(loss, case.model.user.weight)[0] / 8
        private = trainer(case, settings(path=path, clip_norm=1e-9, noise_multiplier=5.0))
        private.step(index)
        assert torch.allclose(before - case.model.user.weight, expected)
        assert (case.model.user.weight[[0, 1, 3]] == before[[0, 1, 3]]).all()

    def test_two_units_on_one_row_are_refused_in_one_batch(self, settings, trainer, tools):
        case = tools.local_vectors()
        case.examples.tensors[0][3] = 2
        with pytest.raises(MixedUnitsError, match="two units"):
            trainer(case, settings()).step(torch.tensor([2, 3]))

    def test_and_over_time(self, settings, trainer, tools):
        case = tools.local_vectors()
        case.examples.tensors[0][3] = 2
        private = trainer(case, settings())
        private.step(torch.tensor([2, 7]))
        with pytest.raises(MixedUnitsError, match="two units"):
            private.step(torch.tensor([3]))

    def test_a_table_that_is_not_read_by_unit_is_refused(self, settings, trainer, tools):
        case = tools.local_vectors()
        whole = torch.arange(24)
        case.loss = lambda model, batch: model.user(whole)[batch[0]].sum(1)
        with pytest.raises(MixedUnitsError, match="leading row"):
            trainer(case, settings()).step(torch.tensor([2, 7]))

    def test_a_retailers_bias_is_refused(self, settings, trainer, tools):
        case = tools.local_vectors()
        case.model.bias = nn.Parameter(torch.zeros(9))
        type(case.model).local_parameters = frozenset({"user", "bias"})
        try:
            with pytest.raises(MixedUnitsError, match="bias"):
                trainer(case, settings())
        finally:
            type(case.model).local_parameters = frozenset({"user"})

    def test_naive_shared_state_moves_other_customers_gradients(self, tools):
        """With a bias fitted to all customers, one customer's sale changes another's gradient."""
        sales = torch.randn(24)
        gradients = []
        for keep in (24, 23):
            bias = sales[:keep].mean()
            gradients.append((sales[0] - bias).clone())
        assert gradients[0] != gradients[1]

    def test_evaluation_may_read_any_row_after_a_round(self, settings, trainer, tools):
        case = tools.local_vectors()
        private = trainer(case, settings())
        private.train_round()
        assert case.model.user(torch.tensor([[0, 1, 2]])).shape == (1, 3, 5)


def test_pricing_a_shuffled_loader_as_poisson_is_refused():
    from securefl.privacy.accounting.events import SampledGaussian

    with pytest.raises(ValueError, match="not amplified"):
        SampledGaussian(1.0, 0.01, 100, sampler="shuffled")


def test_the_learning_signal_survives(settings, trainer, tools):
    """Not a trap: noised training at a generous budget still fits."""
    everyone = torch.arange(24)
    plan = SamplingPlan(rate=0.5, steps=150, expected_batch=12.0)
    for path in PATHS:
        case = tools.rating_rows()
        private = trainer(
            case,
            settings(
                path=path,
                sampling=plan,
                noise_multiplier=0.05,
                clip_norm=1.0,
                optimizer="adam",
                learning_rate=0.01,
            ),
        )
        start = case.loss(case.model, case.examples.batch(everyone)).mean().item()
        private.train_round()
        end = case.loss(case.model, case.examples.batch(everyone)).mean().item()
        private.close()
        assert end < start


def test_settings_that_make_no_sense_are_refused(settings):
    for changes in (
        {"clip_norm": 0.0},
        {"noise_multiplier": -1.0},
    ):
        with pytest.raises(ValueError, match=r"must be|needs"):
            settings(**changes)


def test_one_optimizer_class_tells_what_it_is():
    weights = nn.Parameter(torch.zeros(2))
    optimizer = HooksOptimizer(
        torch.optim.SGD([weights], lr=1.0),
        noise=GridNoise(AesCtrRng.insecure_for_tests(KEY)),
        noise_multiplier=1.0,
        clip_norm=1.0,
        expected_batch=2.0,
    )
    optimizer.step()
    expected = np.zeros(2)
    grid = Grid.of(1.0, 2, 1.0)
    DirectTables(grid.variance).add_to(expected, AesCtrRng.insecure_for_tests(KEY))
    assert torch.equal(-2 * weights.detach(), torch.from_numpy(expected * grid.step).float())
    assert functional.relu(weights).shape == (2,)
