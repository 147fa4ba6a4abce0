"""A retailer's own item-to-item model with rows of the public hierarchy."""

import pytest
import torch

from securefl.ml.metrics.ranking import RankingCases
from securefl.tasks.common.histories import Histories
from securefl.tasks.common.ranking_examples import Cases
from securefl.tasks.recommendation.models.ease import ItemToItem
from securefl.tasks.recommendation.own_neighbours import GroupRows, NeighbourScores
from securefl.tasks.recommendation.settings import NeighbourSettings

LEVELS = (torch.tensor([0, 0, 1, 1, 1, 0, 2]), torch.tensor([0, 1, 2, 2, 3, 1, 4]))


@pytest.fixture
def fitted():
    torch.manual_seed(3)
    items = torch.cat([torch.randperm(7)[:4].sort().values for _ in range(6)]).int()
    start = torch.arange(0, 25, 4)
    histories = Histories(start, items, torch.ones(24), torch.arange(24).int() % 3)
    settings = NeighbourSettings(ridge=2.0, hierarchy=3.0, baskets=2.0, floor=0.25)
    nothing = torch.zeros(7, dtype=torch.int64)
    ranking = RankingCases(nothing[:6], nothing[:6, None], nothing, nothing[:0], nothing > 0)
    prior = torch.zeros(7)
    cases = Cases(torch.arange(6), histories, ranking, prior, prior)
    splits = {"here": {"validation": cases, "test": cases}}
    unfitted = NeighbourScores.unfitted(LEVELS, settings)
    return unfitted, unfitted.fitted(histories, splits, {"here": torch.zeros(0)}), cases


def test_group_rows_have_one_length():
    rows = GroupRows.of(LEVELS, 3.0, most=10).dense()
    assert rows.shape == (8, 7)
    torch.testing.assert_close(rows.norm(dim=1), torch.full((8,), 3.0))
    torch.testing.assert_close((rows > 0).sum(dim=0), torch.full((7,), 2))


def test_a_large_retailer_is_read_in_part(fitted):
    """Of many customers an even sample, of many groups the wider levels: rows are bounded."""
    _, own, cases = fitted
    few = NeighbourSettings(ridge=2.0, hierarchy=3.0, rows=4)
    part = NeighbourScores.unfitted(LEVELS, few).fitted(cases.known, {}, {})
    assert part.groups.count == 3
    assert torch.equal(part.bought, own.bought[[0, 1, 3, 5]])
    assert part.inverse.shape == (7, 7)
    assert part.parts(cases, torch.arange(6)).shape == (6, 7, 1)
    assert GroupRows.of(LEVELS, 3.0, most=1).dense().shape == (0, 7)


def test_scores_are_those_of_all_rows_at_once(fitted):
    """The products of matrices that are left out change nothing: EASE of customers and groups."""
    unfitted, own, cases = fitted
    rows = torch.cat([own.bought, unfitted.groups.dense()])
    plain = ItemToItem.of_rows(rows, 2.0)
    items, present = cases.known.padded(torch.arange(6))
    baskets = cases.known.padded_baskets(torch.arange(6))
    ages = baskets.amax(dim=1, keepdim=True) - baskets
    history = torch.zeros(6, 7).scatter_add(1, items, (-ages / 2.0).exp() + 0.25)
    assert bool((present > 0).all())
    found = own.parts(cases, torch.arange(6))[:, :, 0]
    torch.testing.assert_close(found, plain.scores(history), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(own.validation["here"], found)


def test_what_is_stored_gives_the_same_scores(fitted):
    unfitted, own, cases = fitted
    again = unfitted.filled(own.tensors(), own.weights)
    index = torch.arange(6)
    torch.testing.assert_close(again.parts(cases, index), own.parts(cases, index))
    with pytest.raises(ValueError, match="other products"):
        unfitted.filled({**own.tensors(), "inverse": torch.zeros(3, 3)}, own.weights)
