"""The tutorial's rating classifier on the tutorial's generator."""

import dataclasses

import pytest
import torch
from torch.nn import functional

from securefl.config.data import TutorialSettings
from securefl.config.load import default_config, load_config, merge, validate
from securefl.data.sources.synthetic.source import load
from securefl.errors import ConfigError, DataError
from securefl.ml.batches import all_units
from securefl.ml.metrics.sums import total
from securefl.ml.sgd import LocalTrainer
from securefl.tasks.recommendation.rating_task import RatingTask

SMALL = TutorialSettings(customers=50, items=40, interactions=(400, 900), retailers=3)


@pytest.fixture(scope="module")
def data():
    return load(SMALL)


def make_task(**changes):
    tree = merge(default_config("recommendation", "tutorial"), {"model": {"dim": 16, "hidden": 32}})
    return RatingTask(validate(merge(tree, changes), "test"))


def prepared(task, data):
    facts = task.agree(data)
    return facts, [task.prepare(tables, facts) for tables in data.members]


def test_splits_are_disjoint_and_cover_all_ratings(data):
    task = make_task()
    _, members = prepared(task, data)
    for tables, member in zip(data.members, members, strict=True):
        splits = member.splits[member.name]
        lengths = {split: len(part[0]) for split, part in splits.items()}
        rows = torch.cat([torch.stack(part, dim=1) for part in splits.values()])
        count = len(tables.transactions)
        original = torch.from_numpy(
            tables.transactions[["customer", "product", "rating"]].to_numpy(dtype="int64")
        )

        assert lengths == {
            "train": count - 2 * (count // 20),
            "validation": count // 20,
            "test": count // 20,
        }
        assert sorted(rows.tolist()) == sorted(original.tolist())
        assert member.samples == lengths["train"]


def test_the_split_does_not_follow_the_runs_seed(data):
    first, second = (prepared(make_task(seed=seed), data)[1][0] for seed in (0, 1))

    for split, part in first.splits[first.name].items():
        for one, other in zip(part, second.splits[second.name][split], strict=True):
            assert torch.equal(one, other)


def test_loss_is_cross_entropy_a_rating(data):
    task = make_task()
    facts, members = prepared(task, data)
    model = task.model(facts, 0).eval()
    batch = all_units(members[0].examples)
    losses = task.loss(model, batch)

    torch.testing.assert_close(
        losses.mean(), functional.cross_entropy(model(batch[0], batch[1]), batch[2])
    )
    assert losses.shape == batch[0].shape


def test_training_memorises_and_reports_both_accuracies(data):
    task = make_task()
    facts, members = prepared(task, data)
    torch.manual_seed(0)
    model = task.model(facts, 0)
    settings = task.config.training.model_copy(update={"local_epochs": 60, "learning_rate": 0.01})
    LocalTrainer(model, members[0].examples, task.loss, settings, torch.device("cpu")).train(1)
    model.eval()
    values = total(task.evaluate(model, members[0], "test").values()).values()
    on_training = total(task.evaluate(model, members[0], "train").values()).values()

    assert values["train_accuracy"] > 0.8
    assert values["accuracy"] < values["train_accuracy"]
    assert on_training["accuracy"] == values["train_accuracy"]


def test_pooled_ratings_are_all_ratings(data):
    task = make_task()
    facts, members = prepared(task, data)
    pooled = task.pool(members, facts)
    model = task.model(facts, 0).eval()

    assert pooled.samples == sum(member.samples for member in members)
    for member in members:
        assert (
            task.evaluate(model, pooled, "test")[member.name]
            == (task.evaluate(model, member, "test")[member.name])
        )


def test_naive_is_the_most_frequent_class(data):
    task = make_task()
    _, members = prepared(task, data)
    member = members[0]
    splits = member.splits[member.name]
    frequent = torch.bincount(splits["train"][2]).argmax()
    expected = (splits["test"][2] == frequent).float().mean()
    values = total(task.baseline(member, "test").values()).values()

    assert values["accuracy"] == pytest.approx(float(expected))


def test_errors_are_one_clear_line(data):
    member = data.members[0]

    def broken(**columns):
        return dataclasses.replace(member, transactions=member.transactions.assign(**columns))

    task = make_task()
    facts = task.agree(data)
    without = dataclasses.replace(member, transactions=member.transactions.drop(columns="rating"))
    with pytest.raises(DataError, match="no column 'rating'"):
        task.agree(dataclasses.replace(data, members=(without,)))
    with pytest.raises(DataError, match="numbered from 0"):
        task.agree(dataclasses.replace(data, members=(broken(customer=-1),)))
    with pytest.raises(DataError, match=r"outside 0\.\.4"):
        task.prepare(broken(rating=5), facts)
    few = dataclasses.replace(member, transactions=member.transactions.head(7))
    with pytest.raises(DataError, match="fewer ratings than the 20 that are needed"):
        task.prepare(few, facts)
    with pytest.raises(ConfigError, match="'mf' does not classify ratings"):
        RatingTask(load_config(None, {"model": {"name": "mf"}}))


def test_products_outside_the_catalogue_share_a_row(data):
    member = data.members[0]
    unknown = member.transactions["product"].where(member.transactions["product"] > 3, -1)
    changed = dataclasses.replace(member, transactions=member.transactions.assign(product=unknown))
    task = make_task()
    facts = task.agree(dataclasses.replace(data, members=(changed, *data.members[1:])))
    columns = task.prepare(changed, facts).splits[member.name]["train"]

    assert facts.products[0] == -1
    assert len(facts.products) == SMALL.items + 1
    assert (columns[1] == 0).any()
    assert int(columns[1].max()) == SMALL.items
