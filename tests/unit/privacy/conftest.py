"""Models, units and losses that the private paths must agree on; generated, no row of real data."""

import hashlib
import itertools
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from securefl.ml.batches import TensorExamples
from securefl.ml.parameters import shared_parameters
from securefl.privacy.accounting.accountant import PrivacyAccountant
from securefl.privacy.dpsgd.per_example import clip_factors
from securefl.privacy.dpsgd.poisson_sampling import SamplingPlan
from securefl.privacy.dpsgd.trainer import PrivateSettings, PrivateTrainer
from securefl.privacy.noise.csprng import AesCtrRng


@dataclass
class Case:
    model: nn.Module
    examples: TensorExamples
    loss: Any


class RatingNet(nn.Module):
    """Rows [B] or customers [B, k] of (user, item)."""

    def __init__(self, users=6, items=9, classes=4):
        super().__init__()
        self.user = nn.Embedding(users, 5)
        self.item = nn.Embedding(items, 5)
        self.mlp = nn.Sequential(nn.Linear(10, 7), nn.ReLU(), nn.Linear(7, classes, bias=False))

    def forward(self, user, item):
        return self.mlp(torch.cat([self.user(user), self.item(item)], dim=-1))


class HistoryNet(nn.Module):
    """A customer's padded history summed, scored against all items."""

    def __init__(self, items=9):
        super().__init__()
        self.history = nn.Embedding(items + 1, 5, padding_idx=0)
        self.scores = nn.Linear(5, items)
        self.unused = nn.Linear(5, 3)

    def forward(self, history):
        return self.scores(torch.tanh(self.history(history).sum(dim=1)))


class GridNet(nn.Module):
    """Features [B, 2, 3, 4]; if `twice`, through one layer twice, and two rows of the table."""

    def __init__(self, *, twice):
        super().__init__()
        self.twice = twice
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 1)
        self.level = nn.Embedding(5, 4)

    def forward(self, features, level):
        hidden = torch.tanh(self.first(features))
        hidden = hidden + self.level(level)[:, None, None]
        if self.twice:
            hidden = torch.tanh(self.first(hidden))
            hidden = hidden * self.level((level + 1) % 5)[:, None, None]
        return self.second(hidden).mean(dim=(1, 2, 3))


class LocalNet(nn.Module):
    """Customer vectors stay, item vectors are shared."""

    local_parameters = frozenset({"user"})

    def __init__(self, users=24, items=9):
        super().__init__()
        self.user = nn.Embedding(users, 5)
        self.item = nn.Embedding(items, 5)

    def forward(self, user, item):
        return (self.user(user)[:, None] * self.item(item)).sum(-1)


def rating_rows(units=24):
    model = RatingNet()
    data = (
        torch.randint(6, (units,)),
        torch.randint(9, (units,)),
        torch.randint(4, (units,)),
    )

    def loss(model, batch):
        user, item, rating = batch
        return functional.cross_entropy(model(user, item), rating, reduction="none")

    return Case(model, TensorExamples(data), loss)


def rating_customers(units=24, rows=6):
    model = RatingNet()
    user = torch.randint(6, (units,))
    item = torch.randint(9, (units, rows))
    item[:, 1] = item[:, 0]
    rating = torch.randint(4, (units, rows))
    mask = torch.rand(units, rows) < 0.7
    mask[0] = False

    def loss(model, batch):
        user, item, rating, mask = batch
        logits = model(user[:, None].expand_as(item), item)
        each = functional.cross_entropy(logits.mT, rating, reduction="none")
        return (each * mask).sum(1) / mask.sum(1).clamp_min(1)

    return Case(model, TensorExamples((user, item, rating, mask)), loss)


def squared_error(units=24, *, twice=False):
    model = GridNet(twice=twice)
    data = (torch.randn(units, 2, 3, 4), torch.randint(5, (units,)), torch.randn(units))

    def loss(model, batch):
        features, level, target = batch
        return functional.mse_loss(model(features, level), target, reduction="none")

    return Case(model, TensorExamples(data), loss)


def layers_used_twice():
    return squared_error(twice=True)


def histories(units=24, rows=40):
    model = HistoryNet()
    history = torch.randint(10, (units, rows))
    history[:, rows // 2 :] = 0
    target = torch.randint(9, (units,))

    def loss(model, batch):
        history, target = batch
        return functional.cross_entropy(model(history), target, reduction="none")

    return Case(model, TensorExamples((history, target)), loss)


def short_histories():
    return histories(rows=8)


def local_vectors(units=24, rows=6):
    model = LocalNet(users=units)
    data = (torch.arange(units), torch.randint(9, (units, rows)), torch.randn(units, rows))

    def loss(model, batch):
        user, item, target = batch
        return (model(user, item) - target).square().sum(1)

    return Case(model, TensorExamples(data), loss)


CASES = {
    make.__name__: make
    for make in (
        rating_rows,
        rating_customers,
        squared_error,
        layers_used_twice,
        histories,
        short_histories,
        local_vectors,
    )
}


@pytest.fixture(params=sorted(CASES))
def case(request):
    return CASES[request.param]()


def unit_gradients(case, index):
    """Each unit's gradient of the shared parameters, one backward pass a unit: [B, d]."""
    parameters = list(shared_parameters(case.model).values())
    rows = []
    for unit in index.tolist():
        batch = case.examples.batch(torch.tensor([unit]))
        loss = case.loss(case.model, batch).sum()
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        pairs = zip(gradients, parameters, strict=True)
        rows.append(
            torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs])
        )
    return torch.stack(rows)


def clipped_sum(case, index, clip_norm):
    gradients = unit_gradients(case, index)
    return (gradients * clip_factors(gradients.norm(dim=1), clip_norm)[:, None]).sum(0)


def flat_shared(model):
    return torch.cat([p.detach().flatten() for p in shared_parameters(model).values()])


@pytest.fixture
def tools():
    return SimpleNamespace(
        **CASES,
        LocalNet=LocalNet,
        Case=Case,
        unit_gradients=unit_gradients,
        clipped_sum=clipped_sum,
        flat_shared=flat_shared,
    )


@pytest.fixture(autouse=True)
def _one_thread_in_double():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def settings():
    def make(**changes):
        values = {
            "sampling": SamplingPlan(rate=0.5, steps=3, expected_batch=8.0),
            "clip_norm": 0.7,
            "noise_multiplier": 0.0,
            "optimizer": "sgd",
            "learning_rate": 1.0,
        }
        return PrivateSettings(**{**values, **changes})

    return make


@pytest.fixture
def trainer():
    """Makes trainers, each with a key of its own that is the same in every run of a test.

    A statistical test on fresh randomness fails now and then without anything being wrong.
    """
    made = itertools.count()

    def make(case, settings, *, key=None):
        own = hashlib.sha256(f"trainer {next(made)}".encode()).digest()
        return PrivateTrainer(
            case.model,
            case.examples,
            case.loss,
            settings,
            stream=AesCtrRng.insecure_for_tests(key or own),
            accountant=PrivacyAccountant(),
        )

    return make
