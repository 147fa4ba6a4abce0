"""What is bought together, counted over all retailers in one round."""

from functools import partial

import numpy as np
import pytest
import torch

from securefl.data.sources.registry import load
from securefl.federation.services.facts_file import open_facts
from securefl.federation.services.public_facts import make_facts
from securefl.ml.metrics.sums import total
from securefl.tasks.recommendation.models.ease import multi_hot
from support.task_configs import ease_config, prepared


@pytest.fixture
def config(purchases):
    return partial(ease_config, purchases)


def test_the_items_are_those_that_most_customers_bought(purchases):
    """Without an agreed period: with one, facts say nothing of customers."""
    data = {key: value for key, value in purchases["data"].items() if key != "period"}
    task, facts, _members = prepared(ease_config({**purchases, "data": data}))
    chosen = np.flatnonzero(facts.rows.numpy() >= 0)
    assert sorted(facts.rows[chosen].tolist()) == list(range(30))
    bought = {name: set() for name in facts.products.tolist()}
    for tables in load(task.config.data).members:
        for product, customers in tables.transactions.groupby("product")["customer"]:
            bought[product] |= set(customers)
    counts = np.array([len(bought[name]) for name in facts.products.tolist()])
    others = np.setdiff1d(np.arange(len(counts)), chosen)
    assert counts[chosen].min() >= counts[others].max()


@pytest.mark.parametrize(("level", "rows"), [("category", 8), ("product", 30)])
def test_a_customers_loss_is_hers_alone(config, level, rows):
    task, facts, members = prepared(config(model={"level": level}))
    model, examples = task.model(facts, 0), members[0].examples
    assert model.together.in_features == rows
    torch.nn.init.normal_(model.together.weight)
    every = task.loss(model, examples.batch(torch.arange(len(examples))))
    for row in range(len(examples)):
        alone = task.loss(model, examples.batch(torch.tensor([row])))
        torch.testing.assert_close(alone[0], every[row])


def test_a_matrix_of_zeros_leaves_the_own_scores(config):
    task, facts, members = prepared(config())
    model = task.model(facts, 0)
    with torch.no_grad():
        served = task.evaluate(model, members[0], "test")
        assert served == task.evaluate_local(members[0], "test")
        released = task.evaluate_shared(model, members[0], "test")
    assert total(released.values()).values()["hr@10_full"] < 1


def test_the_own_scores_are_the_retailers_alone(config):
    _task, facts, members = prepared(config())
    own, cases = members[0].local, members[0].cases[members[0].name]["test"]
    index = torch.arange(3)
    parts = own.parts(cases, index)
    rows = multi_hot(*members[0].examples.histories.padded(torch.arange(24)), len(facts.products))
    inverse = torch.linalg.inv(rows.T @ rows + 5.0 * torch.eye(len(facts.products)))
    weights = -inverse / inverse.diag()
    weights.fill_diagonal_(0)
    history = multi_hot(*cases.known.padded(index), len(facts.products))
    torch.testing.assert_close(parts[:, :, 1], history @ weights, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(parts[:, :, 0], cases.prior.expand(3, -1))


def test_facts_survive_a_file(tmp_path, config):
    written = make_facts(config(), tmp_path / "facts.bin").content
    read = open_facts(tmp_path / "facts.bin").content
    assert torch.equal(read.rows, written.rows)
    assert type(read) is type(written)


def test_what_is_bought_together_at_the_others_helps_a_retailer(config):
    """Customers of a retailer that has seen too little still buy in pairs."""
    task, facts, members = prepared(config(model={"items": 40}))
    model, few = task.model(facts, 0), members[0]
    cases = few.cases[few.name]["test"].ranking.positive
    known = few.cases[few.name]["test"].known
    with torch.no_grad():
        for row, held_out in enumerate(cases.tolist()):
            items = known.items[known.start[row] : known.start[row + 1]].long()
            pair = model.bought(
                torch.cat([items, torch.tensor([held_out])])[None], torch.ones(1, len(items) + 1)
            )
            model.together.weight += pair.T @ pair
        released = total(task.evaluate_shared(model, few, "test").values()).values()
    baseline = total(task.baseline(few, "test").values()).values()
    assert released["ndcg@10"] > baseline["ndcg@10"] + 0.1
