"""Slices of parameters pass to next month's items by label, and new ones start from their kin."""

import numpy as np
import pytest
import torch

from securefl.ml.item_rows import Axis, Block, ItemRows, passage

OLD = ["apple", "pear", "bread", "roll", "soap"]
NEW = ["soap", "plum", "roll", "bread", "apple", "brush", "tyre"]
FRUIT = {"apple": 0, "pear": 0, "plum": 0}


def rows_of(labels, categories, departments):
    """The rows of products with a vector of their own and one for their category."""
    codes = np.array(categories)
    axes = {
        "own": Axis(0, (Block.of_items(len(labels)),)),
        "category": Axis(1, (Block(codes, int(codes.max()) + 1),)),
        "both": Axis(0, (Block(codes, int(codes.max()) + 1), Block.of_items(len(labels)))),
    }
    return ItemRows(np.arange(len(labels)), (np.array(departments), codes), axes)


@pytest.fixture
def way():
    """Categories: fruit, bakery, care; next month other codes, and plum, brush and tyre are new."""
    before = rows_of(OLD, [0, 0, 1, 1, 2], [0, 0, 0, 0, 1])
    after = rows_of(NEW, [0, 2, 1, 1, 2, 3, 4], [1, 0, 0, 0, 0, 1, 2])
    return passage(before, after, (OLD, NEW))


def test_rows_follow_their_labels(way):
    value = torch.arange(10.0).reshape(5, 2)
    found = way.carried("own", value, torch.full((7, 2), -1.0))
    for label in set(OLD) & set(NEW):
        assert found[NEW.index(label)].tolist() == value[OLD.index(label)].tolist()


def test_a_new_item_starts_from_its_category(way):
    """Of a new category from the department, and else as in a fresh model."""
    value = torch.tensor([[10.0], [20.0], [1.0], [3.0], [7.0]])
    found = way.carried("own", value, torch.full((7, 1), -1.0)).flatten().tolist()
    assert found[NEW.index("plum")] == 10.0  # of the fruit that is still there
    assert found[NEW.index("brush")] == 7.0
    assert found[NEW.index("tyre")] == -1.0


def test_codes_follow_most_of_their_items(way):
    value = torch.tensor([[1.0, 2.0, 3.0]])
    found = way.carried("category", value, torch.full((1, 5), -1.0)).flatten().tolist()
    assert found == [3.0, 2.0, 1.0, 3.0, -1.0]


def test_blocks_stand_one_after_the_other(way):
    value = torch.tensor([1.0, 2.0, 3.0, 10.0, 20.0, 30.0, 40.0, 50.0])
    found = way.carried("both", value, torch.full((12,), -1.0)).tolist()
    assert found == [3.0, 2.0, 1.0, 3.0, -1.0, 50.0, 10.0, 40.0, 30.0, 10.0, 50.0, -1.0]


def test_other_shapes_are_refused(way):
    for name, value in (
        ("own", torch.zeros(4, 2)),
        ("own", torch.zeros(5, 3)),
        ("w", torch.ones(2)),
    ):
        with pytest.raises(ValueError, match="is \\["):
            way.carried(name, value, torch.zeros(7, 2))
    assert way.carried("w", torch.ones(2), torch.zeros(2)).tolist() == [1.0, 1.0]
