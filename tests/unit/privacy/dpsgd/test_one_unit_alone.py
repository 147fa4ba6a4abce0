"""No unit adds more than the clip norm, or changes what others add, whatever the weights are.

The weights are those of a coordinator that sends what suits it.
"""

import numpy as np
import pytest
import torch
from torch.nn import functional

from securefl.ml.batches import TensorExamples
from securefl.privacy.dpsgd.synthetic_units import made_up_parameters, synthetic_units
from securefl.tasks.churn.model import Classifier
from securefl.tasks.churn.settings import MlpSettings
from securefl.tasks.common.settings import ProfileSettings
from securefl.tasks.recommendation.models.profile import ProfileRanker
from securefl.tasks.recommendation.profile import masked_loss

PATHS = ("hooks", "bookkeeping", "vectorised")
PRODUCTS, OVERFLOWING = 40, (6, 7)


@pytest.fixture(autouse=True)
def _in_single_precision():
    torch.set_default_dtype(torch.float32)


def churn_loss(model, batch):
    features, gone, present = batch
    truth = gone.to(features.dtype)
    each = functional.binary_cross_entropy_with_logits(model(features), truth, reduction="none")
    return (each * present).sum(1) / present.sum(1)


def cancelling(tools, head, gap, dtype, units=60):
    """Two cases a unit, with nearly the same features and opposite outcomes."""
    model = Classifier(MlpSettings(dropout=0.0), 18).to(dtype)
    with torch.no_grad():
        model.direct.weight.zero_()
        model.direct.bias.zero_()
        hidden, out = model.hidden[0], model.hidden[3]
        hidden.weight.copy_(torch.randn(16, 18, dtype=dtype) * 0.1)
        hidden.bias.fill_(1.0)
        hidden.weight[8:] = hidden.weight[:8]
        out.weight[0, :8], out.weight[0, 8:] = head, -head
    one = torch.rand(units, 1, 18)
    features = torch.cat([one, one + gap * torch.randn(units, 1, 18)], 1).to(dtype)
    gone = torch.tensor([[True, False]]).expand(units, 2).contiguous()
    return tools.Case(
        model, TensorExamples((features, gone, torch.ones(gone.shape, dtype=dtype))), churn_loss
    )


def lengths_of(private, units):
    return np.array(
        [float(private.clipped_sum(torch.tensor([unit])).double().norm()) for unit in range(units)]
    )


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("head", "gap", "dtype"),
    [
        *((10.0**power, 1e-4, torch.float32) for power in (0, 2, 4, 6, 20)),
        (1e6, 1e-5, torch.float32),
        (1e9, 1e-9, torch.float64),
        (1e10, 1e-9, torch.float64),
    ],
)
def test_cancelling_terms_keep_to_the_clip_norm(path, head, gap, dtype, settings, trainer, tools):
    """Single precision loses the norm of terms that cancel; a unit had 515 times the clip norm."""
    case = cancelling(tools, head, gap, dtype)
    private = trainer(case, settings(path=path, clip_norm=1.0))
    assert lengths_of(private, 60).max() <= 1 + 1e-6


def test_terms_that_cancel_still_count(settings, trainer, tools):
    """They are clipped to the norm, and not left out."""
    case = cancelling(tools, 1e4, 1e-4, torch.float32)
    private = trainer(case, settings(path="bookkeeping", clip_norm=1.0))
    assert lengths_of(private, 60).min() > 0.9


@pytest.mark.parametrize("path", PATHS)
def test_lookups_that_cancel_keep_to_the_clip_norm(path, settings, trainer, tools):
    """The same of an embedding: one row is looked up twice, with opposite gradients."""
    case = tools.histories(rows=40)
    case.model.float()
    with torch.no_grad():
        case.model.scores.weight.mul_(1e12)
    private = trainer(case, settings(path=path, clip_norm=1.0))
    assert lengths_of(private, 24).max() <= 1 + 1e-6


class Bought:
    """Customers with the products that they bought, all with the same weight."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def batch(self, index):
        items = self.items[index]
        share = 1 / self.items.shape[1]
        return index, items, torch.full(items.shape, share), torch.zeros(len(index), 0)


def overflowing(tools, items):
    """A model in which only who bought of two categories has a gradient that is not finite."""
    levels = [torch.arange(PRODUCTS) % size for size in (3, 8, 8)]
    model = ProfileRanker(ProfileSettings(rank=2), levels, PRODUCTS)
    with torch.no_grad():
        model.encode.weight.zero_()
        model.decode.weight.zero_()
        for row, sign in zip(OVERFLOWING, (-1, 1), strict=True):
            model.decode.weight[row] = sign * 3.4e38
        model.repeat[1].weight.fill_(200.0)

    def loss(model, batch):
        return masked_loss(model, batch[1], batch[2], 0.5)

    return tools.Case(model, Bought(items), loss)


def customers(count=60):
    generator = torch.Generator().manual_seed(1)
    plain = torch.tensor([item for item in range(PRODUCTS) if item % 8 not in OVERFLOWING])
    others = [plain[torch.randperm(len(plain), generator=generator)[:12]] for _ in range(count)]
    target = torch.tensor([7, 15, 23, 31, 39, 6, 14, 22, 30, 38, 7, 6])
    return torch.stack(others), target[None]


@pytest.mark.parametrize("path", PATHS)
def test_no_customer_decides_whether_a_round_fails(path, settings, trainer, tools):
    """The comparison with autograd on the first batch failed where one customer overflowed."""
    others, target = customers()
    private = trainer(overflowing(tools, torch.cat([others, target])), settings(path=path))
    for seed in range(20):
        torch.manual_seed(seed)
        assert private.clipped_sum(torch.arange(61)).isfinite().all()


@pytest.mark.parametrize("path", PATHS)
def test_who_overflows_gives_nobody_new_draws(path, settings, trainer, tools, monkeypatch):
    """A unit that is left out does not send its piece through the loss a second time."""
    others, target = customers()
    private = trainer(overflowing(tools, torch.cat([others, target])), settings(path=path))
    private.clipped_sum(torch.arange(61))  # after it the layers are checked
    calls = []
    monkeypatch.setattr(
        private,
        "loss",
        lambda model, batch: calls.append(1) or masked_loss(model, *batch[1:3], 0.5),
    )
    private.clipped_sum(torch.arange(61))
    once = len(calls)
    private.clipped_sum(torch.arange(60))
    assert len(calls) == 2 * once


@pytest.mark.parametrize("path", PATHS)
def test_who_overflows_adds_nothing(path, settings, trainer, tools):
    """In the draws in which her gradient is not finite; in the others she is clipped."""
    _, target = customers()
    private = trainer(overflowing(tools, target), settings(path=path, clip_norm=1.0))
    found = []
    for seed in range(20):
        torch.manual_seed(seed)
        found.append(float(private.clipped_sum(torch.tensor([0])).double().norm()))
    assert min(found) == 0.0
    assert max(found) <= 1 + 1e-6


def test_layers_are_checked_without_a_unit(settings, trainer, tools):
    """The check reads an empty batch alone, whatever units there are."""
    read = []

    class Watched(Bought):
        def batch(self, index):
            read.append(len(index))
            return super().batch(index)

    others, _ = customers()
    case = overflowing(tools, others)
    case.examples = Watched(others)
    private = trainer(case, settings())
    private.clipped_sum(torch.zeros(0, dtype=torch.int64))
    assert read == [0]


def test_made_up_units_have_the_shapes_of_the_own_ones(tools):
    case = tools.rating_customers()
    real = case.examples.batch(torch.arange(5))
    made = synthetic_units(case.examples)
    assert [(p.shape, p.dtype) for p in made] == [(p.shape, p.dtype) for p in real]


def test_a_check_leaves_parameters_and_draws_alone(tools):
    case = tools.rating_rows()
    before, state = tools.flat_shared(case.model), torch.get_rng_state()
    with made_up_parameters(case.model):
        torch.rand(3)
        assert not torch.equal(tools.flat_shared(case.model), before)
    assert torch.equal(tools.flat_shared(case.model), before)
    assert torch.equal(torch.get_rng_state(), state)


def moved_by(gone, path, dtype, settings, trainer, tools):
    """How far the sum moves without `gone` units, under weights that amplify the last digit."""
    head, gap = (1e4, 1e-4) if dtype == torch.float32 else (1e10, 1e-9)
    private = trainer(cancelling(tools, head, gap, dtype), settings(path=path, clip_norm=1.0))
    index = torch.arange(60)
    whole = private.clipped_sum(index).double()
    return float((whole - private.clipped_sum(index[gone:]).double()).norm())


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gone", [1, 2, 3, 7])
def test_others_do_not_round_by_the_size_of_the_batch(path, dtype, gone, settings, trainer, tools):
    """Products of matrices round a row differently at other sizes; a batch is filled up."""
    assert moved_by(gone, path, dtype, settings, trainer, tools) <= gone * (1 + 1e-4)


def test_batches_that_are_not_filled_up_would_be_found(settings, trainer, tools, monkeypatch):
    """One unit less then moved all others, by 2.4 clip norms together."""
    monkeypatch.setattr("securefl.privacy.dpsgd.trainer._ALIGNED", 1)
    monkeypatch.setattr("securefl.privacy.dpsgd.aligned_products._LINE", 1)
    every = [
        moved_by(gone, "bookkeeping", torch.float32, settings, trainer, tools) / gone
        for gone in (1, 2, 3, 5)
    ]
    if torch.backends.mkl.is_available():
        assert max(every) > 1.01
