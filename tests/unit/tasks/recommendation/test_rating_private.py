"""Ratings as privacy units: what one rating or one customer more or less changes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from securefl.config.load import load_config, merge
from securefl.data.sources.registry import load
from securefl.tasks.common.contribution_bounds import UserBatches, sample_rows, unique_per_slot
from securefl.tasks.registry import create_task

RATINGS = {
    "data": {"source": "tutorial", "customers": 60, "items": 40, "interactions": [300, 600]},
    "model": {"name": "rating-ncf", "dim": 8, "hidden": 16},
}


@pytest.fixture
def cut():
    def make(unit, transactions=None, **privacy):
        private = {"dp": "local", "epsilon": 4.0, "unit": unit, **privacy}
        config = load_config(None, merge(RATINGS, {"privacy": private}))
        task, data = create_task(config), load(config.data)
        tables = data.members[0]
        if transactions is not None:
            tables = type(tables)(tables.name, transactions)
        return task, task.prepare(tables, task.agree(data)), tables

    return make


def rows(examples):
    return {tuple(row) for row in torch.stack(examples.tensors, dim=1).tolist()}


def test_one_rating_more_changes_the_training_ratings_by_one_at_most(cut):
    _, member, tables = cut("record", records_per_customer=8)
    whole, changes = rows(member.examples), []
    for place in range(0, len(tables.transactions), 25):
        fewer = tables.transactions.drop(index=tables.transactions.index[place])
        changes.append(len(whole ^ rows(cut("record", fewer, records_per_customer=8)[1].examples)))
    assert max(changes) == 1
    assert min(changes) == 0


def test_naive_the_first_records_of_a_customer_would_change_two():
    kept = [set(list(range(start, 20))[:8]) for start in (0, 1)]
    assert len(kept[0] ^ kept[1]) == 2


def test_a_customer_has_no_more_records_than_was_agreed(cut):
    _, member, _ = cut("record", records_per_customer=8)
    assert torch.bincount(member.examples.tensors[0]).max() <= 8
    customer, item = np.zeros(100, dtype=np.int64), np.arange(100)
    assert unique_per_slot(customer, item, 16).sum() <= 16
    assert unique_per_slot(customer, item, 1 << 40).all()


def test_a_customer_scores_no_more_records_than_agreed(cut):
    """The figure for a whole customer rests on the bound, in the closing scores as in training."""
    task, member, _ = cut("record", records_per_customer=16)
    model = task.model(task.agree(load(task.config.data)), 0)
    test = member.splits[member.name]["test"]
    own = torch.zeros(40, dtype=torch.int64)
    flood = replace(member, splits={member.name: {"test": (own, torch.arange(40), own)}})
    assert 0 < task.unit_scores(model, flood, "test").units <= 16
    assert 0 < task.unit_scores(model, member, "test").units <= len(test[0])


def test_one_customer_more_is_one_unit_more_and_leaves_the_others_as_they_are(cut):
    _, member, tables = cut("customer")
    customers = tables.transactions["customer"]
    _, fewer, _ = cut("customer", tables.transactions[customers != customers.max()])
    assert len(fewer.examples) == len(member.examples) - 1
    index = torch.arange(len(fewer.examples))
    for one, other in zip(member.examples.batch(index), fewer.examples.batch(index), strict=True):
        assert torch.equal(one, other)


def test_the_loss_of_a_customer_is_the_mean_over_her_ratings(cut):
    task, member, _ = cut("customer")
    model = task.model(task.agree(load(task.config.data)), 0).eval()
    batch = member.examples.batch(torch.arange(5))
    single = create_task(
        task.config.model_copy(
            update={"privacy": task.config.privacy.model_copy(update={"unit": "record"})}
        )
    )
    for row, found in enumerate(task.loss(model, batch)):
        own = tuple(column[row][batch[3][row]] for column in batch[:3])
        torch.testing.assert_close(found, single.loss(model, own).mean())


def test_a_long_history_is_drawn_from_anew_and_evenly():
    torch.manual_seed(0)
    units = UserBatches.of(torch.tensor([7, 9, 7, 7, 7]), (torch.arange(5),), 2)
    counts = torch.zeros(5)
    for _ in range(300):
        column, present = units.batch(torch.tensor([0, 1]))
        assert column.shape == (2, 2)
        assert present.sum(dim=1).tolist() == [2, 1]
        counts += torch.bincount(column[present], minlength=5)
    assert counts[1] == 300
    assert (counts[[0, 2, 3, 4]] - 150).abs().max() < 45
    assert units.batch(torch.zeros(0, dtype=torch.int64))[0].shape == (0, 0)


def test_nothing_is_drawn_where_all_fits():
    values, present = torch.arange(6).view(2, 3), torch.tensor([[1, 1, 0], [1, 0, 0]]).bool()
    assert sample_rows(values, present, 3) == (values, present)
