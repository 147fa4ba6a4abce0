"""The recommenders with customer vectors under differential privacy: a unit is one customer's."""

import pytest
import torch

from securefl.config.load import load_config, merge
from securefl.data.sources.registry import load
from securefl.ml.parameters import shared_parameters
from securefl.privacy.accounting.accountant import PrivacyAccountant
from securefl.privacy.dpsgd.per_example import clip_factors
from securefl.privacy.dpsgd.poisson_sampling import SamplingPlan
from securefl.privacy.dpsgd.trainer import PrivateSettings, PrivateTrainer
from securefl.privacy.noise.csprng import AesCtrRng
from securefl.tasks.registry import create_task

PRIVATE = {"privacy": {"dp": "local", "epsilon": 4.0, "delta": 1e-3}}
MODELS = {
    "mf": {"name": "mf", "dim": 4, "history_dropout": 0.0},
    "ncf": {"name": "ncf", "dim": 4, "hidden": 4, "positives": 8, "negatives": 8},
}


@pytest.fixture(params=sorted(MODELS))
def prepared(request, purchases):
    changes = merge(PRIVATE, {"model": MODELS[request.param]})
    task = create_task(load_config(None, merge({**purchases, "model": {}}, changes)))
    data = load(task.config.data)
    facts = task.agree(data)
    return task, facts, task.prepare(data.members[0], facts), data.members[0]


def test_a_customers_loss_is_hers_whoever_else_is_in_the_data(prepared):
    task, facts, member, tables = prepared
    gone = tables.transactions["customer"].max()
    fewer = tables.transactions[tables.transactions["customer"] != gone]
    without = task.prepare(type(tables)(tables.name, fewer), facts)
    count = len(without.examples)
    assert count == len(member.examples) - 1
    torch.manual_seed(0)
    model, losses = task.model(facts, count + 1), []
    for examples in (member.examples, without.examples):
        alone = []
        for row in range(count):
            torch.manual_seed(row)
            alone.append(task.loss(model, examples.batch(torch.tensor([row]))))
        losses.append(torch.cat(alone))
    assert torch.equal(*losses)


def test_the_plain_task_mixes_customers(prepared):
    """Which is why private training does not take it: popularity and scale are of all customers."""
    task, facts, _, tables = prepared
    plain = create_task(load_config(None, {**task.config.model_dump(mode="json"), "privacy": {}}))
    examples = plain.prepare(tables, facts).examples
    assert examples.prior.numel() > 0
    gone = tables.transactions["customer"].max()
    fewer = tables.transactions[tables.transactions["customer"] != gone]
    other = plain.prepare(type(tables)(tables.name, fewer), facts).examples
    assert not torch.equal(examples.prior, other.prior)
    assert examples.histories.weights[0] != other.histories.weights[0]


def test_the_clipped_sum_is_that_of_separate_customers(prepared):
    task, facts, member, _ = prepared
    if task.settings.name == "ncf":
        pytest.skip("its loss draws products")
    torch.manual_seed(0)
    model = task.model(facts, len(member.examples)).double()
    examples, index = member.examples, torch.tensor([0, 2, 5])
    examples.histories.weights.data = examples.histories.weights.double()
    expected = 0
    for unit in index:
        loss = task.loss(model, examples.batch(unit[None])).sum()
        parts = torch.autograd.grad(loss, list(shared_parameters(model).values()))
        gradient = torch.cat([part.flatten() for part in parts])
        expected = expected + gradient * clip_factors(gradient.norm(), 0.1)
    settings = PrivateSettings(SamplingPlan(1.0, 1, 8.0), 0.1, 0.0, path="auto")
    trainer = PrivateTrainer(
        model,
        examples,
        task.loss,
        settings,
        stream=AesCtrRng.insecure_for_tests(bytes(32)),
        accountant=PrivacyAccountant(),
    )
    found = trainer.clipped_sum(index)
    assert (found - expected).norm() <= 1e-9 * expected.norm()


def test_a_step_looks_at_a_bounded_number_of_purchases(prepared, monkeypatch):
    task, facts, member, _ = prepared
    privacy = task.config.privacy.model_copy(update={"interactions": 2})
    task.config = task.config.model_copy(update={"privacy": privacy})
    model, seen = task.model(facts, len(member.examples)), []

    def losses(customer, items, weights, prior):
        seen.append(weights)
        return weights.sum(dim=1)

    monkeypatch.setattr(model, "losses", losses)
    torch.testing.assert_close(
        task.loss(model, member.examples.batch(torch.arange(3))), torch.ones(3)
    )
    assert seen[0].shape == (3, 2)


def test_what_is_served_joins_the_retailers_own_popularity(prepared):
    task, facts, member, _ = prepared
    model = task.model(facts, len(member.examples)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        served = task.evaluate(model, member, "test")[member.name].values()
        released = task.evaluate_shared(model, member, "test")[member.name].values()
    assert served["hr@10_full"] > released["hr@10_full"] == 0
