"""New products: held out of training altogether, and ranked among themselves."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from securefl.config.load import load_config
from securefl.data.sources.registry import load
from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import ConfigError
from securefl.federation.services.facts_file import open_facts
from securefl.federation.services.public_facts import make_facts
from securefl.ml.metrics.sums import total
from securefl.ml.sgd import LocalTrainer
from securefl.tasks.common.cold_start_split import cold_start_products
from securefl.tasks.content.hybrid import HybridTask
from securefl.tasks.content.settings import RankerSettings
from securefl.tasks.content.task import with_local_model
from securefl.tasks.registry import create_task
from support.task_configs import content_config, prepared


@pytest.fixture
def config(purchases):
    return partial(content_config, purchases)


def test_which_products_are_new_depends_on_their_ids_alone():
    ids = np.arange(5000)
    cold = cold_start_products(ids, 0.1)
    assert 0.08 < float(cold.float().mean()) < 0.12
    assert torch.equal(cold_start_products(ids[1000:2000], 0.1), cold[1000:2000])
    assert (cold <= cold_start_products(ids, 0.3)).all()


def test_no_new_product_is_trained_on_or_known_of_a_customer(config):
    task, facts, members = prepared(config())
    cold = task.new_products(facts)
    assert 0 < int(cold.sum()) < len(cold)
    for member in members:
        assert not cold[member.examples.histories.items.long()].any()
        for splits in member.cases.values():
            for cases in splits.values():
                assert not cold[cases.known.items.long()].any()
        for split in ("validation", "test"):
            assert not cold[member.cases[member.name][split].ranking.positive].any()


def test_a_new_product_is_one_she_bought_after_all_that_is_known_of_her(config):
    task, facts, members = prepared(config())
    cold = task.new_products(facts)
    for tables, member in zip(load(task.config.data).members, members, strict=True):
        lines = tables.transactions
        ids = np.sort(lines["customer"].unique())
        new = member.cases[f"{member.name}, new products"]
        for split in ("validation", "test"):
            cases = new[split]
            assert len(cases.customers) > 3
            for place, row in enumerate(cases.customers.tolist()):
                own = lines[lines["customer"] == ids[row]]
                item = int(cases.ranking.positive[place])
                assert cold[item]
                first = own[own["product"] == facts.products[item]]["time"].min()
                start, end = cases.known.start[place : place + 2].tolist()
                known = facts.products[cases.known.items[start:end].numpy()]
                assert len(known)
                before = own[own["product"].isin(known)].groupby("product")["time"].min()
                assert first > before.max()
                negatives = cases.ranking.negatives[place]
                never = facts.products[negatives[negatives >= 0].numpy()]
                assert not set(never) & set(own["product"])
                assert cold[negatives[negatives >= 0]].all()


def test_the_rule_for_a_new_product_is_the_mean_of_its_kind(config):
    task, facts, members = prepared(config())
    cold, kind = task.new_products(facts), facts.levels[2]
    cases = members[0].cases[f"{members[0].name}, new products"]["test"]
    known = members[0].cases[members[0].name]["test"].popularity
    for item in cold.nonzero().flatten().tolist():
        alike = known[(kind == kind[item]) & ~cold]
        torch.testing.assert_close(cases.popularity[item], alike.mean())


@pytest.mark.parametrize("task", ["hybrid", "content"])
def test_a_customers_loss_is_hers_alone(config, task):
    made, facts, members = prepared(config(task))
    model, examples = made.model(facts, 0).eval(), members[0].examples
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    first = examples.batch(torch.arange(2))
    together = []
    for batch in (first, tuple(part[:1] for part in first)):
        torch.manual_seed(4)
        together.append(made.loss(model, batch)[0])
    torch.testing.assert_close(*together)
    assert torch.isfinite(made.loss(model, examples.batch(torch.arange(len(examples))))).all()


def test_pooled_customers_keep_their_retailers_new_products(config):
    task, facts, members = prepared(config())
    pooled = task.pool(members, facts)
    model = task.model(facts, 0).eval()
    with torch.no_grad():
        one = [task.evaluate_shared(model, member, "test") for member in members]
        assert task.baseline(pooled, "test") == {
            name: tally
            for member in members
            for name, tally in task.baseline(member, "test").items()
        }
        found = task.evaluate_shared(model, pooled, "test")
    assert set(found) == {member.name for member in members}
    assert {metric.name for metric in task.metrics} == set(one[0][members[0].name].ratios)


def test_what_noise_asks_of_the_shared_model_is_not_asked_of_the_own_one():
    privacy = {"dp": "local", "epsilon": 8.0}
    config = load_config(None, {"task": "hybrid", "privacy": privacy})
    shared, own = config.model, with_local_model(config).model
    plain = load_config(None, {"task": "hybrid"}).model
    assert (shared.rank, shared.popularity_step, shared.repeat) == (16, 10.0, 2.0)
    for name in RankerSettings.model_fields:
        assert getattr(own, name) == getattr(plain, name)


def test_facts_survive_a_file(tmp_path, config):
    written = make_facts(config(), tmp_path / "facts.bin").content
    read = open_facts(tmp_path / "facts.bin").content
    assert all(
        torch.equal(one, other) for one, other in zip(written.features, read.features, strict=True)
    )


def test_a_mistake_is_named(config):
    with pytest.raises(ConfigError, match="this model does not know products by themselves"):
        config("content", model={"mapped": ["product"]})
    with pytest.raises(ConfigError, match="at least 1 item"):
        config("hybrid", model={"mapped": []})


def shop(name, seed, products, customers=60, baskets=12):
    """Every customer buys products of one brand and size, whatever their kind."""
    rng = np.random.default_rng(seed)
    rows = []
    for customer in range(customers):
        own = np.arange(products)[np.arange(products) % 4 == customer % 4]
        for basket in range(baskets):
            chosen = rng.choice(own, 2) if rng.random() < 0.95 else rng.choice(products, 2)
            day = pd.Timestamp("2026-01-01") + pd.Timedelta(days=basket * 7 + customer % 7)
            rows += [(1000 + customer, int(p), customer * 100 + basket, day) for p in chosen]
    frame = pd.DataFrame(rows, columns=["customer", "product", "basket", "time"])
    frame["time"] = frame["time"].astype("datetime64[ns]")
    return RetailerTables(name, frame.assign(quantity=1.0, value=1.0, discount=0.0))


@pytest.mark.parametrize("task", ["hybrid", "content"])
def test_training_learns_where_a_new_product_belongs(task):
    products = np.arange(160)
    catalogue = pd.DataFrame({"product": products})
    catalogue = catalogue.assign(
        department="",
        category="",
        kind=[f"kind {p // 20}" for p in products],
        brand=[f"brand {p % 2}" for p in products],
        size=[f"{4 ** (p % 4)} OZ" for p in products],
    )
    data = RetailData("made", (shop("north", 1, 160), shop("south", 2, 160)), catalogue)
    cuts = {"min_households": 2, "min_products": 8, "negatives": 20, "cold": 0.3}
    chosen = load_config(
        None,
        {"task": task, task: cuts, "model": {"rank": 8}, "mode": "plain"}
        | {"training": {"learning_rate": 0.02, "batch_size": 16, "local_epochs": 10}},
    )
    made = create_task(chosen)
    assert isinstance(made, HybridTask)
    facts = made.agree(data)
    member = made.prepare(data.members[0], facts)
    model = made.model(facts, 0)
    trainer = LocalTrainer(model, member.examples, made.loss, chosen.training, torch.device("cpu"))
    trainer.train(1)
    with torch.no_grad():
        found = total(made.evaluate_shared(model.eval(), member, "test").values()).values()
    baseline = total(made.baseline(member, "test").values()).values()
    assert found["ndcg@10_cold"] > baseline["ndcg@10_cold"] + 0.2
    assert found["ndcg@10"] > baseline["ndcg@10"] + 0.1
