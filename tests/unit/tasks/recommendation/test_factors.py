"""Factors of products under a budget: one bound for a customer, and what follows from sums."""

import math
from importlib import import_module

import pytest
import torch

from securefl.config.load import load_config, merge
from securefl.data.sources.registry import load
from securefl.errors import ConfigError
from securefl.privacy.accounting.accountant import PrivacyAccountant
from securefl.privacy.dpsgd.book_keeping import supported_layers
from securefl.privacy.dpsgd.poisson_sampling import SamplingPlan
from securefl.privacy.dpsgd.trainer import PrivateSettings, PrivateTrainer
from securefl.privacy.noise.csprng import AesCtrRng
from securefl.tasks.common.settings import ProfileSettings
from securefl.tasks.recommendation.models.factors import FactorRanker
from securefl.tasks.recommendation.models.listed import ListedRanker
from securefl.tasks.registry import create_task
from support.paths import ROOT

PRIVATE = {
    "model": {"name": "profile", "learns": "products", "dim": 4},
    "privacy": {"dp": "local", "epsilon": 4.0, "delta": 1e-4, "sampling_rate": 1.0},
}


def configured(purchases, changes):
    return load_config(None, merge({**purchases, "model": {}}, merge(PRIVATE, changes)))


@pytest.fixture(scope="module")
def prepared(purchases):
    config = configured(purchases, {})
    task, data = create_task(config), load(config.data)
    facts = task.agree(data)
    return task, facts, task.prepare(data.members[0], facts)


def ranker(prepared, scale=0.0):
    """A model of parameters that were made up, as a coordinator may."""
    task, facts, _ = prepared
    model = task.model(facts, 0)
    torch.manual_seed(3)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=scale)
    return model


def summed(prepared, model, index, clip=1.0, path="bookkeeping"):
    task, _, member = prepared
    private = PrivateTrainer(
        model,
        member.examples,
        task.loss,
        PrivateSettings(SamplingPlan(1.0, 1, 8.0), clip, 0.0, "sgd", path=path),
        stream=AesCtrRng.insecure_for_tests(bytes(32)),
        accountant=PrivacyAccountant(),
    )
    torch.manual_seed(1)
    found = private.clipped_sum(torch.tensor(index, dtype=torch.int64))
    private.close()
    return found


def overlap_codes(model, items, weights):
    """The whole codes of customers, by which their part of the overlap is made."""
    found = []
    handle = model.overlap.register_forward_pre_hook(lambda _, given: found.append(given[0]))
    model.summed(items, weights, torch.zeros_like(weights))
    handle.remove()
    return found[0]


@pytest.mark.parametrize("scale", [0.0, pytest.param(1.0, marks=pytest.mark.slow), 1e4])
def test_one_customer_moves_the_sums_by_the_clip(prepared, scale):
    """Added or removed, whatever the parameters are: one L2 bound over lists, factors, overlap."""
    model = ranker(prepared, scale)
    # The same purchases are shown with and without the last customer: batches are filled up.
    for count in range(1, 8):
        without, beside = (summed(prepared, model, [*range(n)]) for n in (count - 1, count))
        assert 0.5 < float((beside - without).norm()) <= 1 + 1e-6


@pytest.mark.parametrize("dim", [7, 30])
def test_no_place_in_a_batch_moves_a_customers_part(dim):
    """A customer less moves all others up one place; under weights that cancel, too.

    Products come in pairs of opposite factors: of whoever bought both, rounding alone is left, and
    a code has length 1 whatever is left.
    """
    products = 80
    levels = [torch.zeros(products, dtype=torch.int64)] * 3
    model = FactorRanker(ProfileSettings(dim=dim), levels, products)
    generator = torch.manual_seed(0)
    half = torch.randn(products // 2, dim, generator=generator)
    with torch.no_grad():
        model.popularity.weight.fill_(1.0)
        model.factors.weight.copy_(torch.stack([half, -half], dim=1).flatten(0, 1))
        torch.nn.init.eye_(model.overlap.weight)
    items = torch.randperm(64, generator=generator).expand(32, -1).contiguous()
    codes = overlap_codes(model, items, (items < 60).float())
    assert float((codes - codes[0]).norm(dim=1).max()) < 1e-6


def test_a_smaller_clip_norm_bounds_the_whole(prepared):
    """The loss is in units of the clip norm, and a customer's vector as long as that at most."""
    model = ranker(prepared, 1.0)
    for row in range(4):
        assert 0.1 < float(summed(prepared, model, [row], clip=0.25).norm()) <= 0.25 + 1e-6


@pytest.mark.slow
def test_every_path_sums_the_same_overlap_and_list(prepared):
    """Also the one on which parameters are wrapped; it draws other purchases to be shown."""
    model = ranker(prepared, 1.0)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}

    def parts(path):
        model._known_from = ()
        found = summed(prepared, model, [3], path=path).split([*sizes.values()])
        named = dict(zip(sizes, found, strict=True))
        return [named[f"{one}.weight"] for one in ("popularity", "kinds", "overlap", "silence")]

    for other, wanted in zip(parts("vectorised"), parts("bookkeeping"), strict=True):
        torch.testing.assert_close(other, wanted, rtol=1e-4, atol=1e-5)


def test_all_of_the_factors_is_known_to_bookkeeping(prepared):
    """Every parameter belongs to a layer whose units' norms are known."""
    model = ranker(prepared)
    owned = {id(p) for layer in supported_layers(model) for p in layer.parameters()}
    assert owned == {id(p) for p in model.parameters()}


def test_sums_by_index_are_those_of_private_steps(prepared, monkeypatch):
    """What the benchmarks add up for many customers at once is what a member would release."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    task, _, member = prepared
    monkeypatch.setattr(torch, "rand_like", lambda weights: (weights * 7919).frac())
    model, other = ranker(prepared, 1.0), ranker(prepared, 1.0)
    before = torch.cat([layer.weight.flatten() for layer in other.released()])
    private = summed(prepared, model, [*range(len(member.examples))])
    import_module("factor_sums").step(
        other, [member.examples.histories], task.settings.shown, noise=0.0
    )
    named = dict(
        zip(
            dict(model.named_parameters()),
            private.split([p.numel() for p in model.parameters()]),
            strict=True,
        )
    )
    by_layer = {id(p): name for name, p in model.named_parameters()}
    wanted = torch.cat([-named[by_layer[id(layer.weight)]] for layer in model.released()])
    after = torch.cat([layer.weight.flatten() for layer in other.released()])
    torch.testing.assert_close((after - before).double(), wanted.double(), rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 3e38, -3e38, 1e-45])
def test_no_weights_make_tastes_infinite(bad):
    """A coordinator that makes weights up ends no round with them."""
    levels = [torch.arange(30) % size for size in (3, 8, 12)]
    for layer in ("popularity", "silence", "factors", "overlap"):
        model = FactorRanker(ProfileSettings(dim=4), levels, 30)
        with torch.no_grad():
            for one in model.released():
                one.weight.uniform_()
            getattr(model, layer).weight[::2] = bad
        assert model(torch.arange(8).view(2, 4), torch.ones(2, 4)).isfinite().all()


def test_noise_alone_is_no_taste():
    """Below the edge of the spectrum of noise no direction is kept, and above it one is."""
    levels = [torch.arange(400) % size for size in (3, 8, 40)]
    model, generator = FactorRanker(ProfileSettings(dim=4), levels, 400), torch.manual_seed(4)
    with torch.no_grad():
        model.popularity.weight.fill_(40.0)
        model.silence.weight.normal_(generator=generator)
        model.factors.weight.normal_(generator=generator)
        torch.nn.init.eye_(model.overlap.weight)
        shown = torch.arange(0, 12, 2)[None], torch.ones(1, 6)
        assert not model.taste(*shown).any()
        model.factors.weight[::2, 0] += 8.0
        model.factors.weight[1::2, 0] -= 8.0
        found = model.taste(*shown)[0]
    assert float(found[::2].mean()) > 0.5 > float(found[1::2].mean()) + 1


@pytest.mark.slow
def test_agreed_numbers_decide_what_is_learned(purchases):
    """More customers and less noise learn products; own noise at each needs more of both."""

    def learned(dp, customers, epsilon):
        privacy = {"dp": dp, "expected_batch": customers, "epsilon": epsilon, "delta": 1e-7}
        changes = {"model": {"learns": "auto"}, "rounds": 4, "privacy": privacy | {"steps": 1}}
        task = create_task(configured(purchases, changes))
        facts = task.agree(load(task.config.data))
        return isinstance(task.model(facts, 0), FactorRanker)

    assert [learned("distributed", n, 2.0) for n in (512.0, 1e6)] == [False, True]
    assert not learned("distributed", 1e6, 1e-4)
    assert [learned("local", n, 2.0) for n in (512.0, 1e6)] == [False, True]


@pytest.mark.parametrize(
    ("privacy", "words"),
    [
        ({"dp": "none", "epsilon": None}, "model 'profile' reads it under a budget alone"),
        ({"dp": "distributed", "unit": "member"}, "'products' takes a budget with unit"),
    ],
)
def test_factors_without_their_budget_are_refused(purchases, privacy, words):
    """They are sums over customers, which are bounded by customer or not at all."""
    with pytest.raises(ConfigError, match=f"model.learns: {words}"):
        create_task(configured(purchases, {"privacy": privacy}))


def test_a_choice_of_categories_is_kept(purchases):
    """However many customers there are."""
    privacy = {"expected_batch": 1e7}
    changes = {"model": {"learns": "categories", "dim": 32}, "privacy": privacy}
    task = create_task(configured(purchases, changes))
    assert isinstance(task.model(task.agree(load(task.config.data)), 0), ListedRanker)


def test_made_up_weights_are_read_once(monkeypatch):
    """No number equals itself; what follows from one release is one thing for all batches."""
    model = FactorRanker(ProfileSettings(dim=4), [torch.arange(30) % 5] * 3, 30)
    with torch.no_grad():
        model.factors.weight[3] = math.nan
    seen = []
    monkeypatch.setattr(model, "refresh", lambda *weights: seen.append(weights))
    for _ in range(2):
        model._denoise()
    assert len(seen) == 1
