"""Purchases in order, end to end, on customers who walk through the products."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from securefl.config.load import default_config, load_config, merge, validate
from securefl.data.sources.registry import load
from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import ConfigError
from securefl.federation.services.facts_file import open_facts
from securefl.federation.services.public_facts import make_facts
from securefl.ml.batches import all_units
from securefl.ml.metrics.sums import total
from securefl.ml.parameters import local_parameters
from securefl.ml.sgd import LocalTrainer
from securefl.privacy.accounting.accountant import PrivacyAccountant
from securefl.privacy.dpsgd.per_example import clip_factors
from securefl.privacy.dpsgd.poisson_sampling import SamplingPlan
from securefl.privacy.dpsgd.trainer import PrivateSettings, PrivateTrainer
from securefl.privacy.noise.csprng import AesCtrRng
from securefl.tasks.registry import create_task
from securefl.tasks.sequential.task import sample_purchases
from support.task_configs import sequential_config as small

PRODUCTS = 60
MODELS = ("gru", "attention")


def walkers(name, seed, customers=40):
    """Each customer buys two products a week, always the next two of the row of all products."""
    rng, rows = np.random.default_rng(seed), []
    for customer in range(customers):
        place = int(rng.integers(PRODUCTS))
        for week in range(10):
            day = pd.Timestamp("2026-01-01") + pd.Timedelta(weeks=week)
            rows += [(customer, (place + step) % PRODUCTS, week, day) for step in (0, 1)]
            place += 2
    frame = pd.DataFrame(rows, columns=["customer", "product", "basket", "time"])
    frame["time"] = frame["time"].astype("datetime64[ns]")
    return RetailerTables(name, frame.assign(quantity=1.0, value=1.0, discount=0.0))


@pytest.fixture(scope="module")
def data():
    products = pd.DataFrame({"product": np.arange(PRODUCTS)})
    for level in ("department", "category", "kind", "brand", "size"):
        products[level] = ""
    return RetailData("generated", (walkers("north", 1), walkers("south", 2, 20)), products)


def make_task(**changes):
    tree = merge(
        default_config("sequential", "complete-journey"),
        {
            "model": {"name": "gru", "dim": 16, "hidden": 16, "length": 8, "history_dropout": 0.0},
            "sequential": {"min_households": 2, "min_products": 8, "negatives": 20, "prior": 0.0},
            "training": {"learning_rate": 0.02, "batch_size": 16, "local_epochs": 12},
        },
    )
    return create_task(validate(merge(tree, changes), "test"))


def prepared(task, data):
    facts = task.agree(data)
    return facts, [task.prepare(tables, facts) for tables in data.members]


def test_baskets_are_numbered_in_time(data):
    _, (member, _) = prepared(make_task(), data)
    _, items, weights, _, baskets = all_units(member.examples)
    first = baskets[0][weights[0] > 0]
    assert sorted(first.tolist()) == [n for n in range(8) for _ in range(2)]
    order = items[0][weights[0] > 0][first.argsort(stable=True)]
    assert set(((order[2:] - order[:-2]) % PRODUCTS).tolist()) == {2}
    known = member.cases["north"]["test"].known.padded_baskets(torch.arange(1))
    assert int(known.max()) == 8


@pytest.mark.parametrize("model", MODELS)
def test_training_learns_the_order(data, model):
    torch.manual_seed(0)
    task = make_task(model={"name": model})
    facts, members = prepared(task, data)
    network = task.model(facts, 0)
    LocalTrainer(
        network, members[0].examples, task.loss, task.config.training, torch.device("cpu")
    ).train(1)
    network.eval()
    with torch.no_grad():
        found = total(task.evaluate(network, members[0], "test").values()).values()
    baseline = total(task.baseline(members[0], "test").values()).values()
    assert found["ndcg@10"] > baseline["ndcg@10"] + 0.3
    assert found["hr@10_full"] > 0.5
    assert not local_parameters(network)


def test_the_held_out_purchases_are_those_of_recommendation(data):
    task = make_task()
    facts, (member, _) = prepared(task, data)
    tree = {"task": "recommendation", "recommendation": task.split.model_dump()}
    other = create_task(load_config(None, tree))
    same = other.prepare(data.members[0], facts)
    for split in ("validation", "test"):
        ours, theirs = member.cases["north"][split], same.cases["north"][split]
        assert torch.equal(ours.ranking.positive, theirs.ranking.positive)
        assert torch.equal(ours.ranking.negatives, theirs.ranking.negatives)


def test_pooled_customers_keep_their_order(data):
    task = make_task()
    facts, members = prepared(task, data)
    pooled = task.pool(members, facts)
    assert torch.equal(
        pooled.examples.batch(torch.tensor([40]))[4],
        members[1].examples.batch(torch.tensor([0]))[4],
    )


def test_another_tasks_model_is_refused(data):
    with pytest.raises(ConfigError, match="unknown value 'profile'; known: gru, attention"):
        validate(
            merge(default_config("sequential", "complete-journey"), {"model": {"name": "profile"}}),
            "x",
        )
    with pytest.raises(TypeError, match="Linear does not rank sequences"):
        make_task().loss(torch.nn.Linear(1, 1), (None,) * 5)


PRIVATE = {"dp": "local", "epsilon": 4.0, "delta": 1e-3, "expected_batch": 20.0}


def test_facts_are_read_as_they_were_written(purchases, tmp_path):
    config = small(purchases, {})
    written = make_facts(config, tmp_path / "facts").content
    found = open_facts(tmp_path / "facts").content
    assert np.array_equal(found.products, written.products)
    assert all(map(torch.equal, found.levels, written.levels))


@pytest.fixture(params=[(model, vectors) for model in MODELS for vectors in ("learned", "fixed")])
def private(request, purchases):
    model, vectors = request.param
    choice = {"name": model, "vectors": vectors, "loss": "softmax"}
    changes = {"model": choice, "privacy": PRIVATE}
    task = create_task(small(purchases, changes))
    tables = load(task.config.data)
    facts = task.agree(tables)
    return task, facts, [task.prepare(member, facts) for member in tables.members], tables.members


def test_a_customers_loss_is_hers_whoever_else_is_in_the_data(private):
    task, facts, members, tables = private
    gone = tables[0].transactions["customer"].max()
    fewer = tables[0].transactions[tables[0].transactions["customer"] != gone]
    without = task.prepare(replace(tables[0], transactions=fewer), facts)
    count = len(without.examples)
    assert count == len(members[0].examples) - 1
    torch.manual_seed(0)
    model, losses = task.model(facts, 0), []
    for examples in (members[0].examples, without.examples):
        losses.append([])
        for row in range(count):
            torch.manual_seed(row)
            losses[-1].append(task.loss(model, examples.batch(torch.tensor([row]))))
    assert torch.equal(torch.cat(losses[0]), torch.cat(losses[1]))


def test_the_clipped_sum_is_that_of_separate_customers(private):
    task, facts, members, _ = private
    torch.manual_seed(0)
    model = task.model(facts, 0).double()
    examples, index = members[0].examples, torch.tensor([0, 2, 5])
    examples.histories.weights.data = examples.histories.weights.double()
    expected = 0
    for unit in index:
        loss = task.loss(model, examples.batch(unit[None])).sum()
        parts = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        flat = [
            torch.zeros_like(p) if g is None else g
            for g, p in zip(parts, model.parameters(), strict=True)
        ]
        gradient = torch.cat([part.flatten() for part in flat])
        expected = expected + gradient * clip_factors(gradient.norm(), 0.1)
    trainer = PrivateTrainer(
        model,
        examples,
        task.loss,
        PrivateSettings(SamplingPlan(1.0, 1, 8.0), 0.1, 0.0, path="auto"),
        stream=AesCtrRng.insecure_for_tests(bytes(32)),
        accountant=PrivacyAccountant(),
    )
    found = trainer.clipped_sum(index)
    assert (found - expected).norm() <= 1e-9 * expected.norm()


def test_a_step_looks_at_a_bounded_number_of_purchases(private, monkeypatch):
    task, facts, members, _ = private
    privacy = task.config.privacy.model_copy(update={"interactions": 2})
    task.config = task.config.model_copy(update={"privacy": privacy})
    model, seen = task.model(facts, 0), []

    def losses(items, present, weights, baskets, prior):
        seen.append((items, present, weights, baskets))
        return weights.sum(dim=1)

    monkeypatch.setattr(model, "losses", losses)
    torch.testing.assert_close(
        task.loss(model, members[0].examples.batch(torch.arange(3))), torch.ones(3)
    )
    assert all(part.shape == (3, 2) for part in seen[0])


@torch.no_grad()
def test_a_shared_model_that_says_nothing_leaves_the_own_part(private):
    task, facts, members, _ = private
    model = task.model(facts, 0).eval()
    for parameter in model.parameters():
        parameter.zero_()
    released = task.evaluate_shared(model, members[0], "test")[members[0].name].values()
    served = task.evaluate(model, members[0], "test")[members[0].name].values()
    own = task.evaluate_local(members[0], "test")[members[0].name].values()
    assert released["hr@10_full"] == 0  # nothing but ties
    assert served == own
    assert own["hr@10_full"] > 0
    assert members[0].local.twin.settings.vectors == "learned"


@pytest.mark.parametrize("model", MODELS)
def test_the_noised_model_and_the_own_one_have_settings_of_their_own(model):
    privacy = {"dp": "local", "epsilon": 8.0}
    tree = {"task": "sequential", "privacy": privacy, "model": {"name": model, "length": 9}}
    task = create_task(load_config(None, tree))
    assert (task.settings.vectors, task.settings.hidden, task.settings.length) == ("fixed", 8, 9)
    own = task.twin().settings
    assert (own.vectors, own.hidden, own.length) == ("learned", 64, 9)
    assert (own.loss, own.recall, own.popularity_step) == ("sampled-softmax", 1.0, 1.0)


def test_heads_that_do_not_divide_are_refused():
    own, budget = {"name": "attention", "own": {"dim": 33}}, {"dp": "local", "epsilon": 4.0}
    with pytest.raises(ConfigError, match="a multiple of heads = 2"):
        load_config(None, {"task": "sequential", "model": own, "privacy": budget})


def test_some_purchases_stand_for_all():
    weights = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.0, 0.0]])
    kept, present, chosen = sample_purchases(weights, 2)
    torch.testing.assert_close(present, torch.tensor([[2.0, 2.0], [1.0, 1.0]]))
    torch.testing.assert_close(chosen.sum(dim=1), torch.ones(2))
    ratio = weights.gather(1, kept) / chosen
    torch.testing.assert_close(ratio[:, 0], ratio[:, 1])
    assert set(kept[1].tolist()) == {0, 1}
