"""The private profile model: a list that is a sum, its denoising, and one bound for all blocks."""

import math

import pytest
import torch

from securefl.config.load import load_config, merge
from securefl.data.sources.registry import load
from securefl.errors import ConfigError
from securefl.ml.parameters import load_shared, shared_vector
from securefl.privacy.accounting.accountant import PrivacyAccountant
from securefl.privacy.dpsgd.book_keeping import supported_layers
from securefl.privacy.dpsgd.poisson_sampling import SamplingPlan
from securefl.privacy.dpsgd.trainer import PrivateSettings, PrivateTrainer
from securefl.privacy.noise.csprng import AesCtrRng
from securefl.tasks.common.settings import ProfileSettings
from securefl.tasks.recommendation.models.denoising import by_size, log_means
from securefl.tasks.recommendation.models.listed import ListedRanker
from securefl.tasks.registry import create_task

LISTS = ("popularity", "kinds")
PRODUCTS = 40
PRIVATE = {
    "model": {"name": "profile", "rank": 2},
    "privacy": {"dp": "local", "epsilon": 4.0, "delta": 1e-4, "sampling_rate": 1.0},
}


def ranker(products=PRODUCTS):
    levels = [torch.arange(products) % size for size in (3, 8, 12)]
    return ListedRanker(ProfileSettings(rank=2), levels, products)


@pytest.fixture(scope="module")
def prepared(purchases):
    config = load_config(None, merge({**purchases, "model": {}}, PRIVATE))
    task, data = create_task(config), load(config.data)
    facts = task.agree(data)
    return task, facts, task.prepare(data.members[0], facts)


def gradients(task, model, batch):
    torch.manual_seed(5)
    model.zero_grad()
    task.loss(model, batch).sum().backward()
    return {name: one.grad.clone() for name, one in model.named_parameters()}


def test_a_customers_part_of_the_lists_has_one_length(prepared):
    """Of each customer, whatever they bought and whatever the parameters are."""
    task, facts, member = prepared
    model = task.model(facts, 0)
    for scale in (0.0, 3.0):
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=scale)
        for row in range(5):
            found = gradients(task, model, member.examples.batch(torch.tensor([row])))
            part = torch.cat([found[f"{name}.weight"].flatten() for name in LISTS])
            assert float(part.norm()) == pytest.approx(math.sqrt(0.7), rel=1e-5)
            assert not found["silence.weight"].any()


def summed(prepared, model, index, path="bookkeeping"):
    task, _, member = prepared
    private = PrivateTrainer(
        model,
        member.examples,
        task.loss,
        PrivateSettings(SamplingPlan(1.0, 1, 8.0), 1.0, 0.0, "sgd", path=path),
        stream=AesCtrRng.insecure_for_tests(bytes(32)),
        accountant=PrivacyAccountant(),
    )
    torch.manual_seed(1)
    found = private.clipped_sum(torch.tensor(index))
    private.close()
    return found


def test_the_whole_vector_is_what_is_clipped(prepared):
    """List and map together are as long as the clip norm at most, on the way that a run takes."""
    task, facts, _ = prepared
    model = task.model(facts, 0)
    with torch.no_grad():
        model.decode.weight.normal_(std=30.0)
    lengths = [float(summed(prepared, model, [row]).norm()) for row in range(4)]
    assert 0.99 < max(lengths) <= 1 + 1e-6


@pytest.mark.parametrize("path", ["hooks", "vectorised"])
def test_every_path_sums_the_same_list(prepared, path):
    """Also the one on which parameters are wrapped, while the list is denoised.

    That one draws other purchases to be shown, so that the whole vector is clipped otherwise.
    """
    task, facts, _ = prepared
    model = task.model(facts, 0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()

    def direction(path):
        model._known_from = torch.zeros(0)  # each path denoises the list itself
        parts = summed(prepared, model, [3], path).split([p.numel() for p in model.parameters()])
        by_name = dict(zip(dict(model.named_parameters()), parts, strict=True))
        assert not by_name["silence.weight"].any()
        lists = torch.cat([by_name[f"{name}.weight"] for name in LISTS])
        return lists / lists.norm()

    torch.testing.assert_close(direction(path), direction("bookkeeping"), rtol=1e-4, atol=1e-5)


def test_the_list_is_a_constant_of_the_map(prepared):
    """The ranking loss moves map and gains, and the list by the customer's own part alone."""
    task, facts, member = prepared
    model, batch = task.model(facts, 0), member.examples.batch(torch.tensor([0]))
    before = gradients(task, model, batch)
    with torch.no_grad():
        model.popularity.weight.copy_(torch.arange(1.0, len(facts.products) + 1)[:, None])
    after = gradients(task, model, batch)
    assert all(torch.equal(before[f"{name}.weight"], after[f"{name}.weight"]) for name in LISTS)
    assert not torch.equal(before["decode.weight"], after["decode.weight"])


def test_every_parameter_is_known_to_bookkeeping():
    """The fast path follows lists, silence and map."""
    model = ranker()
    owned = {id(p) for layer in supported_layers(model) for p in layer.parameters()}
    assert owned == {id(p) for p in model.parameters()}


def test_silence_tells_the_noise():
    """The list is pulled together as far as the noise on what no customer moves says."""
    torch.manual_seed(0)
    model, spread = ranker(), []
    for noise in (0.0, 3.0, 30.0):
        with torch.no_grad():
            model.popularity.weight.copy_(torch.linspace(0, 20, PRODUCTS)[:, None])
            model.silence.weight.normal_(std=noise) if noise else None
        spread.append(float(model.common(1).std()))
    assert spread[0] > spread[1] > 5 * spread[2]


def test_the_list_follows_what_was_loaded():
    """Parameters are replaced in place by those of a round, and the list is of the new ones."""
    model, other = ranker(), ranker()
    with torch.no_grad():
        other.popularity.weight.copy_(torch.arange(PRODUCTS)[:, None])
    assert not model.common(2).any()
    load_shared(model, shared_vector(other))
    assert torch.equal(model.common(2), other.common(2))
    assert model.common(2).shape == (2, PRODUCTS)
    assert model.double().common(1).dtype == torch.float64


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 3e38, -3e38, 1e-45])
def test_no_weights_make_the_list_infinite(bad):
    """A coordinator that makes weights up ends no round with them."""
    for layer in ("popularity", "kinds", "silence"):
        model = ranker()
        with torch.no_grad():
            model.popularity.weight.uniform_()
            getattr(model, layer).weight[::2] = bad
        assert model.common(1).isfinite().all()


def test_an_optimizer_that_sums_nothing_is_refused(purchases):
    """Adam divides each coordinate by its own length, and a list of ones is left."""
    for section in ("privacy", "server"):
        name = "adam" if section == "privacy" else "fedadam"
        tree = merge(merge({**purchases, "model": {}}, PRIVATE), {section: {"optimizer": name}})
        with pytest.raises(ConfigError, match=rf"{section}.optimizer: '{name}' would change"):
            create_task(load_config(None, tree))


# -- denoising -------------------------------------------------------------------------------------


def sums(count=3000):
    generator = torch.Generator().manual_seed(2)
    true = torch.randn(count, generator=generator, dtype=torch.float64).mul(1.6).exp()
    return true, torch.randn(count, generator=generator, dtype=torch.float64)


def rank_agreement(found, true):
    first, second = (one.argsort().argsort().double() for one in (found, true))
    return float(torch.corrcoef(torch.stack([first, second]))[0, 1])


@pytest.mark.parametrize("noise", [0.5, 2.0, 8.0])
def test_denoised_logs_are_closer_than_released_ones(noise):
    """By the squared error of the logarithm, up to a constant, against any floor."""
    true, draws = sums()
    seen = true + noise * draws
    found = log_means(seen, noise, torch.zeros(len(true), dtype=torch.int64))
    wanted = (true + float(seen.max()) / 5000).log()

    def error(of):
        return float((of - wanted - (of - wanted).mean()).square().mean())

    floors = [error(seen.clamp(min=floor).log()) for floor in (0.01, 0.1, 0.5, 1.0, 2.0, 8.0)]
    assert error(found) < min(floors)


def test_without_noise_a_sum_is_its_logarithm():
    """Then nothing is to be estimated, and no grid shows."""
    true, _ = sums(500)
    found = log_means(true, 0.0, torch.zeros(500, dtype=torch.int64))
    unit = float(true.max()) / 5000
    torch.testing.assert_close(found, (true / unit + 1).log())
    assert rank_agreement(found, true) == pytest.approx(1.0)


def test_a_group_lends_its_members_its_level():
    """Of two equal noised sums the one among the larger sums is thought to be larger."""
    true, draws = sums()
    groups = by_size(true.log() + 0.5 * draws.flip(0), 6)
    seen = true + 8.0 * draws
    alone = log_means(seen, 8.0, torch.zeros(len(true), dtype=torch.int64))
    assert rank_agreement(log_means(seen, 8.0, groups), true) > rank_agreement(alone, true) + 0.05
    assert torch.bincount(groups).tolist() == [500] * 6


def test_nothing_released_says_nothing():
    """A list of zeros, an empty one, and one in which noise alone is negative."""
    for seen in (torch.zeros(4), torch.zeros(0), -torch.ones(4)):
        assert not log_means(seen, 1.0, torch.zeros(len(seen), dtype=torch.int64)).any()
