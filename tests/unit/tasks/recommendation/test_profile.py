"""The recommender for private training: a unit is one customer's own."""

import pytest
import torch

from securefl.config.load import load_config, merge
from securefl.data.sources.registry import load
from securefl.privacy.dpsgd.book_keeping import supported_layers
from securefl.tasks.recommendation.models.profile import ProfileRanker
from securefl.tasks.registry import create_task


@pytest.fixture
def prepared(purchases):
    config = load_config(None, merge({**purchases, "model": {}}, {"model": {"name": "profile"}}))
    task, data = create_task(config), load(config.data)
    facts = task.agree(data)
    return task, facts, [task.prepare(tables, facts) for tables in data.members]


def trained_a_little(task, facts):
    torch.manual_seed(3)
    model = task.model(facts, 0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


def test_every_parameter_is_shared_and_known_to_bookkeeping(prepared):
    task, facts, _ = prepared
    model = task.model(facts, 0)
    owned = {id(p) for layer in supported_layers(model) for p in layer.parameters()}
    assert owned == {id(p) for p in model.parameters()}


def test_a_customers_loss_is_hers_whoever_else_is_in_the_data(prepared, purchases):
    task, facts, members = prepared
    model, member = trained_a_little(task, facts), members[0]
    tables = load(load_config(None, purchases).data).members[0]
    gone = tables.transactions["customer"].max()
    fewer = tables.transactions[tables.transactions["customer"] != gone]
    without = task.prepare(type(tables)(tables.name, fewer), facts)
    count = len(without.examples)
    assert count == len(member.examples) - 1
    losses = []
    for examples in (member.examples, without.examples):
        alone = []
        for row in range(count):
            torch.manual_seed(row)
            alone.append(task.loss(model, examples.batch(torch.tensor([row]))))
        losses.append(torch.cat(alone))
    assert torch.equal(*losses)


def test_no_exact_popularity_is_where_private_training_looks(prepared):
    _, _, members = prepared
    assert all(member.examples.prior.numel() == 0 for member in members)
    sums = members[0].examples.histories
    owner = torch.repeat_interleave(torch.arange(len(sums)), sums.start.diff())
    totals = torch.zeros(len(sums)).index_add_(0, owner, sums.weights)
    torch.testing.assert_close(totals, torch.ones(len(sums)))


def test_the_scores_are_what_the_formula_says():
    levels = (torch.tensor([0, 0, 1]), torch.tensor([0, 1, 2]), torch.tensor([0, 1, 2]))
    settings = load_config(None, {"model": {"name": "profile", "rank": 2}}).model
    model = ProfileRanker(settings, levels, 3)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    items, present = torch.tensor([[0, 1, 0]]), torch.tensor([[1.0, 1.0, 0.0]])
    department, category = torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5, 0.0]).sqrt()
    gains = [gain.weight.item() for gain in model.repeat]
    mapped = model.decode.weight @ (model.encode.weight @ category)
    popularity = settings.popularity_step * model.popularity.weight[:, 0]
    expected = [
        popularity[i]
        + gains[0] * department[levels[0][i]]
        + (gains[1] + gains[2]) * category[i]
        + mapped[i]
        for i in range(3)
    ]
    torch.testing.assert_close(model(items, present)[0], torch.stack(expected))
