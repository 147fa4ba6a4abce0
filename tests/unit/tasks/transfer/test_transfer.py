"""What is learned of some departments starts another one."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from securefl.config.load import load_config
from securefl.data.sources.registry import load
from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import ConfigError, DataError
from securefl.federation.services.facts_file import open_facts
from securefl.federation.services.public_facts import make_facts
from securefl.ml.metrics.sums import total
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.local_baseline import train_to_best
from securefl.tasks.common.splits import hold_out
from securefl.tasks.registry import create_task
from support.task_configs import TRANSFER_CUTS, prepared, transfer_config


@pytest.fixture
def config(purchases):
    return partial(transfer_config, purchases)


def test_the_first_rounds_see_the_source_alone_and_the_others_few_customers_pasts(config):
    task, facts, members = prepared(config())
    for member in members:
        source, both = task.units_in(member, 1), task.units_in(member, 2)
        assert not facts.target[source.histories.items.long()].any()
        assert 0 < len(both) < 0.8 * len(source)
        assert facts.target[both.histories.items.long()].any()
        assert not facts.target[both.histories.items.long()].all()


def test_nothing_is_known_of_a_customer_that_comes_after_what_is_held_out(config):
    task, facts, members = prepared(config())
    for tables, member in zip(load(task.config.data).members, members, strict=True):
        lines = tables.transactions
        ids = hold_out(task.purchases(tables, facts), TRANSFER_CUTS["min_products"]).customers
        for cases in member.cases[member.name].values():
            for place, row in enumerate(cases.customers.tolist()):
                own = lines[lines["customer"] == ids[row]].groupby("product")["time"].min()
                positive = int(cases.ranking.positive[place])
                assert facts.target[positive]
                start, end = cases.known.start[place : place + 2].tolist()
                known = facts.products[cases.known.items[start:end].numpy()]
                assert len(known)
                assert own[facts.products[positive]] > own[known].max()


def test_a_customer_who_is_new_to_the_target_is_known_by_the_source_alone(config):
    _task, facts, members = prepared(config())
    cases = members[0].cases[members[0].name]
    known = cases["test"].known
    owner = torch.repeat_interleave(torch.arange(len(known)), known.start.diff())
    with_past = set(owner[facts.target[known.items.long()]].tolist())
    assert with_past <= set(cases["validation"].customers.tolist())
    assert len(with_past) == len(members[0].target_examples)
    assert len(cases["test"].customers) > len(with_past)


def test_a_units_loss_is_hers_and_of_her_domain(config):
    task, facts, members = prepared(config())
    model = task.model(facts, 0).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    for number in (1, 2):
        units = task.units_in(members[0], number)
        batch = units.batch(torch.arange(2))
        found = []
        for part in (batch, tuple(each[:1] for each in batch)):
            torch.manual_seed(0)
            found.append(task.loss(model, part)[0])
        assert torch.isfinite(found[0])
    # Scores of the other domain change nothing.
    torch.manual_seed(1)
    before = task.loss(model, batch)
    shifted = facts.target.logical_not().float() * 50
    ranker = type(model)(
        task.settings, facts.features, task.new_products(facts), facts.target
    ).eval()
    ranker.load_state_dict(model.state_dict())
    products = len(facts.products)
    with torch.no_grad():
        ranker.popularity.weight[-products:, 0] += shifted / ranker.step
    torch.manual_seed(1)
    torch.testing.assert_close(task.loss(ranker, batch), before)


def shop(name, seed, customers=80, baskets=14):
    """A taste of four decides what she buys in either department."""
    rng = np.random.default_rng(seed)
    rows = []
    for customer in range(customers):
        for basket in range(baskets):
            day = pd.Timestamp("2026-01-01") + pd.Timedelta(days=basket * 7 + customer % 7)
            food = rng.choice(np.arange(customer % 4, 80, 4), 2)
            drug = 80 + rng.choice(np.arange(customer % 4, 40, 4), 1)
            chosen = [*food.tolist(), *drug.tolist()]
            rows += [(1000 + customer, product, customer * 100 + basket, day) for product in chosen]
    frame = pd.DataFrame(rows, columns=["customer", "product", "basket", "time"])
    frame["time"] = frame["time"].astype("datetime64[ns]")
    return RetailerTables(name, frame.assign(quantity=1.0, value=1.0, discount=0.0))


@pytest.fixture(scope="module")
def made():
    products = np.arange(120)
    catalogue = pd.DataFrame({"product": products}).assign(
        department=np.where(products < 80, "food", "drug"),
        category=[f"category {p // 10}" for p in products],
        kind=[f"kind {p // 5}" for p in products],
        brand=[f"brand {p % 4}" for p in products],
        size="",
    )
    return RetailData("made", (shop("north", 1), shop("south", 2)), catalogue)


def learned(made, source_rounds, departments=("drug",)):
    cuts = {"min_households": 2, "min_products": 3, "negatives": 20, "customers": 0.05}
    cuts |= {"departments": list(departments), "source_rounds": source_rounds}
    chosen = load_config(
        None,
        {"task": "transfer", "transfer": cuts, "model": {"rank": 8}, "mode": "plain", "rounds": 6}
        | {"training": {"learning_rate": 0.02, "batch_size": 16, "local_epochs": 4}},
    )
    task = create_task(chosen)
    facts = task.agree(made)
    member = task.prepare(made.members[0], facts)
    learner = LocalProblem(chosen, task, facts, member)
    model = learner.fresh_model("alone")
    train_to_best(learner, model, chosen.training, chosen.rounds)
    return total(learner.score(model, "test").values()).values()["ndcg@10"]


def test_what_was_learned_of_the_source_helps_with_few_pasts_of_the_target(made):
    assert learned(made, 3) > learned(made, 0) + 0.05


def test_a_domain_without_products_is_named(made, config):
    with pytest.raises(DataError, match="no products are of the departments toys"):
        learned(made, 1, departments=("toys",))
    with pytest.raises(ConfigError, match=r"transfer.source_rounds: 5 of 2 rounds"):
        create_task(config(transfer={"source_rounds": 5}))


def test_facts_survive_a_file(tmp_path, config):
    written = make_facts(config(), tmp_path / "facts.bin").content
    read = open_facts(tmp_path / "facts.bin").content
    assert torch.equal(read.target, written.target)
    assert replace(read, target=written.target).end == written.end
