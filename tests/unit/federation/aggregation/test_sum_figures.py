"""What a round's sum shows by itself, to everyone who sees it."""

import json
import math
import pickle
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from securefl.federation.aggregation.sum_figures import (
    RecentSums,
    SumFigures,
    SumReader,
    remarks,
)
from securefl.federation.coordinator.rounds import RoundRecord
from securefl.federation.member.sum_watch import SumWatch
from securefl.federation.runs.loop import recent_sums, with_remarks
from securefl.ml.item_rows import Axis, Block
from securefl.ml.parameters import shared_vector


class Rows(nn.Module):
    """Twenty items of three numbers, a department each, and a layer without items."""

    def __init__(self):
        super().__init__()
        self.own = nn.Embedding(20, 3)
        self.of_department = nn.Embedding(2, 3)
        self.dense = nn.Linear(3, 2)

    def item_axes(self):
        departments = Block(np.arange(20) % 2, 2)
        return {
            "own.weight": Axis(0, (Block.of_items(20),)),
            "of_department.weight": Axis(0, (departments,)),
        }


@pytest.fixture
def reader():
    return SumReader(Rows(), limit=0.5)


@pytest.fixture
def usual(reader):
    rng = np.random.default_rng(3)

    def change():
        return 0.01 * rng.standard_normal(len(shared_vector(Rows())))

    return change


def test_figures_are_lengths_by_layer(reader, usual):
    change = usual()
    found = reader.figures(change, 40)
    assert found.norm == pytest.approx(np.linalg.norm(change))
    assert found.layers["own.weight"] == pytest.approx(np.linalg.norm(change[:60]))
    assert list(found.layers) == [
        "own.weight",
        "of_department.weight",
        "dense.weight",
        "dense.bias",
    ]
    assert (found.samples, found.bound) == (40, pytest.approx(0.5 * math.sqrt(len(change))))


def test_usual_rounds_get_no_remark(reader, usual):
    figures = [reader.figures(usual(), 40) for _ in range(6)]
    assert [remarks(one, figures[:n]) for n, one in enumerate(figures)] == [()] * 6


def test_a_sum_that_is_scaled_stands_out(reader, usual):
    earlier = [reader.figures(usual(), 40) for _ in range(3)]
    found = remarks(reader.figures(10 * usual(), 40), earlier)
    assert any("its length" in one for one in found)
    assert any("layer dense.weight" in one for one in found)


def test_a_boosted_row_stands_out_alone(reader, usual):
    change = usual()
    change[3 * 7 : 3 * 8] += 0.3
    found = reader.figures(change, 40)
    assert found.row == 7
    assert any("item 7" in one for one in remarks(found, ()))


def test_a_claimed_weight_stands_out(reader, usual):
    earlier = [reader.figures(usual(), 40)]
    assert any("weight 4,000" in one for one in remarks(reader.figures(usual(), 4000), earlier))


def test_what_breaks_the_agreed_limit_stands_out(reader):
    change = np.full(len(shared_vector(Rows())), 0.6)
    assert "beyond the agreed" in remarks(reader.figures(change, 1), ())[0]
    assert remarks(reader.figures(change * np.nan, 1), ()) == ("the sum is not finite",)


def test_figures_survive_a_file(reader, usual):
    found = reader.figures(usual(), 40)
    assert SumFigures.from_json(json.loads(json.dumps(asdict(found)))) == found
    broken = asdict(found) | {"norm": None, "bound": None}
    assert math.isnan(SumFigures.from_json(broken).norm)
    assert SumFigures.from_json(broken).bound == math.inf


def test_coordinator_and_member_remark_the_same(reader, usual):
    watch, records = SumWatch(reader), []
    changes = [usual(), usual(), 20 * usual()]
    own = [watch.note(n, change, 40) for n, change in enumerate(changes, start=1)]
    for n, change in enumerate(changes, start=1):
        record = RoundRecord(n, ("a",), ("a",), 0.0, {}, best=True, seconds=1.0)
        assert with_remarks(record, recent_sums(records)) == record  # no figures, no remarks
        full = RoundRecord(**{**vars(record), "sum": reader.figures(change, 40)})
        records.append(with_remarks(full, recent_sums(records)))
    assert [record.unusual for record in records] == own
    assert own[0] == own[1] == ()
    assert own[2]


def test_a_long_run_keeps_the_sums_it_looks_back_on(reader):
    """Remarks are those beside all earlier sums; what is held does not grow with the rounds."""
    draw, recent, all_of_them, sizes = np.random.default_rng(3), RecentSums(), [], []
    for number in range(1, 31):
        change = draw.normal(size=len(shared_vector(Rows()))) * (0.01 if number % 7 else 0.2)
        figures = reader.figures(change, 40)
        assert recent.note(number, figures) == remarks(figures, all_of_them)
        all_of_them.append(figures)
        sizes.append(len(pickle.dumps(recent)))
    assert max(sizes) < 1.1 * sizes[5]


def test_a_repeated_round_is_compared_with_those_before(reader, usual):
    watch = SumWatch(reader)
    watch.note(1, usual(), 40)
    assert watch.note(2, 20 * usual(), 40)
    assert watch.note(2, usual(), 40) == ()


def test_a_reader_leaves_the_random_numbers_alone():
    class Drawing:
        def model(self, facts, customers):
            torch.rand(5)
            return Rows()

    config = SimpleNamespace(secure=SimpleNamespace(limit=0.5))
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    SumReader.of(config, Drawing(), None)
    assert torch.equal(torch.rand(1), expected)


def test_rows_that_did_not_move_are_not_usual(reader):
    """Where few products were bought, their rows alone are compared."""
    change = np.zeros(len(shared_vector(Rows())))
    change[:9] = 0.1
    assert remarks(reader.figures(change, 40), ()) == ()
    change[:27] = np.linspace(0.1, 0.3, 27)
    assert remarks(reader.figures(change, 40), ()) == ()
