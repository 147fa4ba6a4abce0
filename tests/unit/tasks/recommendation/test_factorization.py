"""The two ranking models against formulas written out customer by customer."""

import pytest
import torch
from torch.nn import functional

from securefl.ml.parameters import local_parameters, shared_parameters
from securefl.tasks.common.settings import FactorizationSettings, NcfSettings
from securefl.tasks.recommendation.models.factorization import Factorization, ProductVectors
from securefl.tasks.recommendation.models.ncf import NcfRanker, RatingNcf
from securefl.tasks.recommendation.settings import RatingNcfSettings

PRODUCTS, CUSTOMERS = 12, 5
LEVELS = (torch.arange(PRODUCTS) % 3, torch.arange(PRODUCTS) // 4)
ITEMS = torch.tensor([[1, 2, 3], [4, 0, 0]])
WEIGHTS = torch.tensor([[0.5, 0.2, 0.1], [2.0, 0.0, 0.0]])
WHO = torch.tensor([3, 0])
PRIOR = torch.linspace(-1, 1, PRODUCTS).expand(2, -1)


@pytest.fixture
def mf():
    torch.manual_seed(1)
    settings = FactorizationSettings(dim=4, history_dropout=0.0)
    return spread(Factorization(settings, LEVELS, PRODUCTS, CUSTOMERS))


@pytest.fixture
def ncf():
    torch.manual_seed(2)
    settings = NcfSettings(
        dim=4, hidden=6, history_dropout=0.0, dropout=0.0, positives=20, negatives=40
    )
    return spread(NcfRanker(settings, LEVELS, PRODUCTS, CUSTOMERS))


@torch.no_grad()
def spread(model):
    for parameter in model.parameters():
        parameter.normal_()
    return model


@torch.no_grad()
def product_vector(model, item):
    part = model.products
    own = part.own.weight[item]
    return own + sum(
        table.weight[codes[item]] for codes, table in zip(LEVELS, part.of_level, strict=True)
    )


@torch.no_grad()
def customer_vector(model, row):
    bought = [i for i, w in zip(ITEMS[row], WEIGHTS[row], strict=True) if w > 0]
    history = sum(product_vector(model, item) for item in bought) / len(bought) ** 0.5
    return model.customers.weight[WHO[row]] + model.history_gain * history


def present():
    return (WEIGHTS > 0).float()


@torch.no_grad()
def test_scores_are_inner_products_plus_bias_and_prior(mf):
    scores = mf.scores(WHO, ITEMS, present(), PRIOR)

    for row in range(2):
        for item in range(PRODUCTS):
            inner = customer_vector(mf, row) @ product_vector(mf, item)
            expected = inner + mf.bias[item] + PRIOR[row, item]
            assert float(scores[row, item]) == pytest.approx(float(expected), rel=1e-4, abs=1e-5)


def test_loss_is_the_weighted_log_likelihood(mf):
    log_share = functional.log_softmax(mf.scores(WHO, ITEMS, present(), PRIOR), dim=1)
    expected = [
        -sum(w * log_share[row, i] for i, w in zip(ITEMS[row], WEIGHTS[row], strict=True))
        for row in range(2)
    ]

    torch.testing.assert_close(mf.losses(WHO, ITEMS, WEIGHTS, PRIOR), torch.stack(expected))


def test_a_customers_loss_does_not_depend_on_the_batch(mf):
    both = mf.losses(WHO, ITEMS, WEIGHTS, PRIOR)
    alone = mf.losses(WHO[1:], ITEMS[1:, :1], WEIGHTS[1:, :1], PRIOR[1:])

    torch.testing.assert_close(both[1:], alone)


@pytest.mark.parametrize("kind", ["mf", "ncf"])
def test_customer_vectors_and_nothing_else_stay_local(kind, request):
    model = request.getfixturevalue(kind)

    assert set(local_parameters(model)) == {"customers.weight"}
    assert {p.shape[0] for p in shared_parameters(model).values() if p.dim()}.isdisjoint(
        {CUSTOMERS}
    )


@pytest.mark.parametrize("kind", ["mf", "ncf"])
def test_shared_shapes_do_not_tell_how_many_customers_there_are(kind, request):
    model = request.getfixturevalue(kind)
    settings = NcfSettings(dim=4, hidden=6) if kind == "ncf" else FactorizationSettings(dim=4)
    none = type(model)(settings, LEVELS, PRODUCTS, 0)

    assert {n: p.shape for n, p in shared_parameters(none).items()} == {
        n: p.shape for n, p in shared_parameters(model).items()
    }


@torch.no_grad()
def test_ncf_scores_are_those_of_every_pair(ncf):
    scores = ncf.scores(WHO, ITEMS, present(), PRIOR)

    for row in range(2):
        customer = customer_vector(ncf, row)
        for item in range(PRODUCTS):
            product = product_vector(ncf, item)
            hidden = torch.relu(ncf.of_customer(customer) + ncf.of_product(product))
            expected = customer @ product + ncf.out(hidden)[0] + ncf.bias[item] + PRIOR[row, item]
            assert float(scores[row, item]) == pytest.approx(float(expected), rel=1e-4, abs=1e-4)


def test_ncf_trains_on_the_scores_that_it_ranks_by(ncf):
    vectors = ncf.products()
    customers = ncf.customer_vectors(vectors, WHO, ITEMS, present())
    pairs = ncf._pairs(vectors, customers, torch.tensor([[5, 1], [0, 11]]), PRIOR)
    scores = ncf.scores(WHO, ITEMS, present(), PRIOR)

    torch.testing.assert_close(pairs, scores.gather(1, torch.tensor([[5, 1], [0, 11]])))


def test_ncf_loss_follows_the_customers_weight(ncf):
    torch.manual_seed(0)
    once = ncf.losses(WHO, ITEMS, WEIGHTS, PRIOR)
    torch.manual_seed(0)
    twice = ncf.losses(WHO, ITEMS, 2 * WEIGHTS, PRIOR)

    torch.testing.assert_close(twice, 2 * once)


def test_hidden_history_is_only_hidden_in_training():
    torch.manual_seed(3)
    settings = FactorizationSettings(dim=4, history_dropout=0.9)
    model = spread(Factorization(settings, LEVELS, PRODUCTS, CUSTOMERS))
    training = model.train().scores(WHO, ITEMS, present(), PRIOR)
    first, second = (model.eval().scores(WHO, ITEMS, present(), PRIOR) for _ in range(2))

    assert not torch.equal(training, first)
    assert torch.equal(first, second)


def test_products_of_one_kind_share_a_vector():
    vectors = ProductVectors((torch.zeros(3, dtype=torch.int64),), products=3, dim=2)
    with torch.no_grad():
        vectors.own.weight.zero_()

    torch.testing.assert_close(vectors()[0], vectors()[2])


def test_the_tutorials_network_has_its_sizes():
    model = RatingNcf(RatingNcfSettings(), customers=1000, products=500)
    shapes = [tuple(parameter.shape) for parameter in model.parameters()]

    assert shapes == [
        (1000, 64),
        (500, 64),
        (128, 128),
        (128,),
        (64, 128),
        (64,),
        (5, 64),
        (5,),
    ]
    assert not local_parameters(model)
