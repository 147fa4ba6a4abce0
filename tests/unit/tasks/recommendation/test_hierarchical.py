"""Matrix factorisation with a retailer's own layer, against the formula."""

import pytest
import torch

from securefl.ml.parameters import local_parameters, shared_parameters
from securefl.tasks.common.settings import FactorizationSettings, HierarchicalSettings
from securefl.tasks.recommendation.models.factorization import Factorization
from securefl.tasks.recommendation.models.hierarchical import HierarchicalFactorization

LEVELS = (torch.arange(12) % 3, torch.arange(12) // 4)
ITEMS, PRESENT = torch.tensor([[1, 2, 3], [4, 0, 0]]), torch.tensor([[1.0, 1, 1], [1, 0, 0]])
WHO, PRIOR = torch.tensor([3, 0]), torch.linspace(-1, 1, 12).expand(2, -1)


@pytest.fixture
def model():
    torch.manual_seed(0)
    settings = HierarchicalSettings(dim=4, rank=2, history_dropout=0.0)
    return HierarchicalFactorization(settings, LEVELS, 12, 5)


def plain(model):
    other = Factorization(FactorizationSettings(dim=4, history_dropout=0.0), LEVELS, 12, 5)
    state = {n: p for n, p in model.state_dict().items() if not n.startswith("retailer.")}
    other.load_state_dict(state)
    return other


def test_a_fresh_retailer_layer_changes_nothing(model):
    with torch.no_grad():
        ours = model.scores(WHO, ITEMS, PRESENT, PRIOR)
        theirs = plain(model).scores(WHO, ITEMS, PRESENT, PRIOR)
    torch.testing.assert_close(ours, theirs)


@torch.no_grad()
def test_the_layer_changes_customers_and_products(model):
    for parameter in model.parameters():
        parameter.normal_()
    other, layer, vectors = plain(model), model.retailer, model.products()
    customers = other.customer_vectors(vectors, WHO, ITEMS, PRESENT)
    customers = customers + customers @ layer.inner.weight.T @ layer.outer.weight.T
    expected = customers @ vectors.T + model.bias + layer.bias + PRIOR
    torch.testing.assert_close(model.scores(WHO, ITEMS, PRESENT, PRIOR), expected)


def test_customers_and_the_retailers_layer_stay_local(model):
    assert set(local_parameters(model)) == {
        "customers.weight",
        "retailer.bias",
        "retailer.inner.weight",
        "retailer.outer.weight",
    }
    assert {n: p.shape for n, p in shared_parameters(model).items()} == {
        n: p.shape for n, p in shared_parameters(plain(model)).items()
    }
