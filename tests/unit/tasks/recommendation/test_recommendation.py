"""Purchases end to end on generated retailers whose customers have a taste."""

import numpy as np
import pandas as pd
import pytest
import torch

from securefl.config.load import default_config, load_config, merge, validate
from securefl.data.sources.registry import load
from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import ConfigError, DataError
from securefl.ml.batches import all_units
from securefl.ml.metrics.sums import total
from securefl.ml.sgd import LocalTrainer
from securefl.tasks.common.ranking_examples import RetailerCases
from securefl.tasks.recommendation.models.factorization import Factorization
from securefl.tasks.recommendation.models.hierarchical import HierarchicalFactorization
from securefl.tasks.recommendation.models.ncf import NcfRanker
from securefl.tasks.recommendation.task import RecommendationTask
from securefl.tasks.registry import check_model
from support.task_configs import prepared as prepared_from

PRODUCTS, TASTES = 120, 4


def shop(name, seed, customers=60, baskets=12):
    """Every customer buys mostly products of one taste: those with the same number modulo 4."""
    rng = np.random.default_rng(seed)
    rows = []
    for customer in range(customers):
        own = np.arange(PRODUCTS)[np.arange(PRODUCTS) % TASTES == customer % TASTES]
        for basket in range(baskets):
            products = rng.choice(own, 2) if rng.random() < 0.95 else rng.choice(PRODUCTS, 2)
            day = pd.Timestamp("2026-01-01") + pd.Timedelta(days=basket * 7 + customer % 7)
            rows += [(1000 + customer, int(p), customer * 100 + basket, day) for p in products]
    frame = pd.DataFrame(rows, columns=["customer", "product", "basket", "time"])
    frame["time"] = frame["time"].astype("datetime64[ns]")
    return RetailerTables(name, frame.assign(quantity=1.0, value=1.0, discount=0.0))


def retail(*members):
    products = pd.DataFrame({"product": np.arange(PRODUCTS)})
    for level in ("department", "category", "kind", "brand", "size"):
        products[level] = ""
    return RetailData("generated", members, products)


@pytest.fixture(scope="module")
def data():
    return retail(shop("north", 1), shop("south", 2, customers=40))


def make_task(**changes):
    tree = merge(
        default_config("recommendation", "complete-journey"),
        {
            "model": {"name": "mf", "dim": 8},
            "recommendation": {"min_households": 2, "min_products": 8, "negatives": 20},
            "training": {"learning_rate": 0.02, "batch_size": 16, "local_epochs": 15},
        },
    )
    return RecommendationTask(validate(merge(tree, changes), "test"))


def prepared(task, data):
    facts = task.agree(data)
    return facts, [task.prepare(tables, facts) for tables in data.members]


def score(task, model, member, split="test"):
    model.eval()
    with torch.no_grad():
        return total(task.evaluate(model, member, split).values()).values()


def test_a_product_needs_enough_customers_of_all_retailers_together():
    first, second = shop("north", 1, customers=8), shop("south", 2, customers=8)
    rare = pd.DataFrame(
        {"customer": [1000, 1001], "product": [500, 501], "basket": [1, 2]}
        | {"quantity": 1.0, "value": 1.0, "discount": 0.0}
    ).assign(time=first.transactions["time"].iloc[0])
    one = RetailerTables("north", pd.concat([first.transactions, rare]))
    two = RetailerTables("south", pd.concat([second.transactions, rare.assign(customer=5000)]))
    facts = make_task(recommendation={"min_households": 2}).agree(retail(one, two))

    assert {500, 501} <= set(facts.products.tolist())
    assert (
        500 not in make_task(recommendation={"min_households": 3}).agree(retail(one, two)).products
    )


def test_no_held_out_purchase_is_trained_on(data):
    task = make_task()
    _, members = prepared(task, data)
    for tables, member in zip(data.members, members, strict=True):
        items, weights = member.examples.histories.padded(torch.arange(member.customers))
        for split in ("validation", "test"):
            positive = member.cases[tables.name][split].ranking.positive
            assert not ((items == positive[:, None]) & (weights > 0)).any()
        known = member.cases[tables.name]["test"].known.padded(torch.arange(member.customers))
        test = member.cases[tables.name]["test"].ranking.positive
        assert not ((known[0] == test[:, None]) & (known[1] > 0)).any()


def test_every_negative_is_sold_here_and_was_never_bought(data):
    task = make_task()
    facts, members = prepared(task, data)
    for tables, member in zip(data.members, members, strict=True):
        bought = tables.transactions.groupby("customer")["product"].agg(set)
        ids = sorted(bought.index)
        for split in ("validation", "test"):
            negatives = member.cases[tables.name][split].ranking.negatives
            assert negatives.shape == (len(ids), 20)
            for customer, row in zip(ids, facts.products[negatives.numpy()], strict=True):
                assert not bought[customer] & set(row.tolist())


def test_what_was_bought_lately_counts_more(data):
    task = make_task(recommendation={"recency_days": 20.0, "recency_floor": 0.0})
    _, members = prepared(task, data)
    weights = members[0].examples.histories.weights

    assert float(weights.sum()) == pytest.approx(members[0].customers, rel=1e-4)
    assert float(weights.max() / weights.min()) > np.exp(60 / 20) * 0.9


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ({"name": "mf"}, Factorization),
        ({"name": "mf", "loss": "sampled-softmax"}, Factorization),
        ({"name": "mf", "loss": "bpr"}, Factorization),
        ({"name": "hierarchical"}, HierarchicalFactorization),
        ({"name": "ncf"}, NcfRanker),
    ],
)
def test_training_learns_the_taste(data, model, kind):
    torch.manual_seed(0)
    task = make_task(model={"dim": 8} | model)
    facts, members = prepared(task, data)
    network = task.model(facts, members[0].customers)
    before = score(task, network, members[0])
    trainer = LocalTrainer(
        network, members[0].examples, task.loss, task.config.training, torch.device("cpu")
    )
    trainer.train(1)
    after = score(task, network, members[0])
    baseline = total(task.baseline(members[0], "test").values()).values()

    assert type(network) is kind
    assert after["hr@10"] > 0.85
    assert after["ndcg@10"] > baseline["ndcg@10"] + 0.15
    assert after["ndcg@10_expected"] > before["ndcg@10_expected"] + 0.15


def test_losses_are_one_a_customer(data):
    task = make_task()
    facts, members = prepared(task, data)
    batch = all_units(members[1].examples)
    losses = task.loss(task.model(facts, members[1].customers), batch)

    assert losses.shape == (members[1].customers,)
    assert torch.isfinite(losses).all()


def test_pooled_cases_are_the_members_cases(data):
    """One model with the members' customer vectors in order scores each retailer the same."""
    task = make_task()
    facts, members = prepared(task, data)
    pooled = task.pool(members, facts)
    joint = task.model(facts, pooled.customers).eval()
    first = 0
    for member in members:
        single = task.model(facts, member.customers).eval()
        state = dict(joint.state_dict())
        state["customers.weight"] = state["customers.weight"][first : first + member.customers]
        single.load_state_dict(state)
        alone = task.evaluate(single, member, "test")[member.name]
        assert task.evaluate(joint, pooled, "test")[member.name] == alone
        first += member.customers
    assert pooled.samples == sum(member.samples for member in members)
    assert len(pooled.examples) == pooled.customers


def test_popularity_ranks_by_number_of_customers(data):
    task = make_task()
    facts, members = prepared(task, data)
    cases = members[0].cases["north"]["test"]
    items, weights = members[0].examples.histories.padded(torch.arange(members[0].customers))
    buyers = torch.bincount(items[weights > 0], minlength=len(facts.products))

    torch.testing.assert_close(cases.popularity, buyers.float())


def test_errors_are_one_clear_line(data):
    with pytest.raises(DataError, match="no product was bought by 1000 customers"):
        make_task(recommendation={"min_households": 1000}).agree(data)
    task = make_task(recommendation={"min_products": 100})
    with pytest.raises(DataError, match="north: no customer bought 100 different products"):
        task.prepare(data.members[0], task.agree(data))
    with pytest.raises(ConfigError, match="'rating-ncf' does not rank purchases"):
        make_task(model={"name": "rating-ncf", "dim": 8})
    with pytest.raises(TypeError, match="Linear does not rank purchases"):
        make_task().loss(torch.nn.Linear(1, 1), (None,) * 4)


def test_unknown_products_and_nobodys_purchases_are_no_part_of_the_assortment(data):
    tables = data.members[0]
    strange = tables.transactions.assign(product=-1)
    nobody = tables.transactions.assign(customer=-1, product=7)
    mixed = RetailerTables("north", pd.concat([tables.transactions, strange, nobody]))
    task = make_task()
    facts = task.agree(retail(mixed, data.members[1]))
    before = task.prepare(tables, facts)
    after = task.prepare(mixed, facts)

    assert -1 not in facts.products
    assert before.samples == after.samples
    assert before.customers == after.customers


def test_a_layer_that_mixes_a_retailers_customers_is_not_trained_privately():
    privacy = {"dp": "local", "epsilon": 4.0}
    with pytest.raises(ConfigError, match="'hierarchical' cannot be trained privately"):
        check_model(make_task(model={"name": "hierarchical"}, privacy=privacy).config)


def test_a_dated_split_trains_on_nothing_that_is_later(purchases):
    """Of no customer, and ages count from the end of training; new products have no date."""
    dated = {"recommendation": {"held_out_days": 10}}
    task, facts, members = prepared_from(load_config(None, merge(purchases, dated)))
    day = 86_400 * 10**9
    end = facts.end - 20 * day
    for tables, member in zip(load(task.config.data).members, members, strict=True):
        cut = RetailerCases(
            [task.purchases(tables, facts)], len(facts.products), facts.end, task.split
        )
        assert cut.customers == member.customers > 0
        assert int(cut.cut.training.time.max()) <= end < facts.end
        assert end - int(cut.cut.training.time.max()) < 10 * day
    with pytest.raises(ConfigError, match="by a hash and not by date"):
        load_config(None, {"task": "hybrid", "hybrid": {"held_out_days": 10}})
