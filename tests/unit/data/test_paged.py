"""Columns in files and lines in parts: the same values, whatever lies where."""

import errno
import logging
import mmap
import tempfile
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from securefl.data import grouping, pace, paged
from securefl.data.digests import frame_digest
from securefl.data.grouping import grouped
from securefl.data.paged import Spool, blank, blocks, release
from securefl.data.radix import stable_order
from securefl.data.sources.files import order
from securefl.data.sources.files.order import ordered
from securefl.data.tables import RetailData, RetailerTables
from securefl.data.threads import ahead
from securefl.errors import DataError, InputError
from securefl.tasks.common import ranking_examples, splits
from securefl.tasks.common.purchase_lines import buyers
from securefl.tasks.common.ranking_examples import RetailerCases, customer_parts, purchases_of
from securefl.tasks.common.settings import RecommendationSettings


@pytest.fixture
def tiny(monkeypatch):
    """Everything that can lie in files does, and parts are of a few lines."""
    monkeypatch.setattr(paged, "_SMALL", 0)
    for module in (paged, grouping):
        monkeypatch.setattr(module, "BLOCK", 7)
    monkeypatch.setattr(paged.blocks, "__defaults__", (7,))
    monkeypatch.setattr(grouping.grouped, "__defaults__", (7, None))
    monkeypatch.setattr(grouping, "ROUND", 50)
    monkeypatch.setattr(splits, "BLOCK", 7)
    monkeypatch.setattr(order, "BLOCK", 7)


def lines(seed, count=200, *, sort=True):
    rng = np.random.default_rng(seed)
    time = rng.integers(0, 90, count)
    return {
        "customer": rng.integers(-1, 20, count),
        "product": rng.integers(-1, 15, count),
        "basket": rng.integers(0, 400, count),
        "time": np.datetime64("2024-01-01", "ns") + (np.sort(time) if sort else time) * 8 * 10**13,
        "quantity": np.ones(count),
        "value": rng.random(count),
    }


def test_a_released_column_is_what_was_written(tiny):
    """Pages are taken out of this process, and come back with what they held."""
    column = blank(5000, np.int64)
    for span in blocks(5000, 700):
        column[span] = np.arange(span.start, span.stop)
    release()
    assert column.sum() == 5000 * 4999 // 2
    base = column
    while not isinstance(base, mmap.mmap):
        base = base.obj if isinstance(base, memoryview) else base.base
    assert len(base) == 40_000


def test_a_column_is_as_wide_as_its_widest_part(tiny):
    with Spool({"a": np.int32}) as spool:
        for part in ([1, 2], [], [2**40], [3]):
            kind = np.int64 if part == [2**40] else np.int32
            spool.append({"a": np.array(part, dtype=kind)})
        assert spool.rows(slice(1, 3))["a"].tolist() == [2, 2**40]
        spool.truncate(3)
        found = spool.columns()["a"]
    assert (found.dtype, found.tolist()) == (np.int64, [1, 2, 2**40])
    found[0] = 7
    assert found.tolist() == [7, 2, 2**40]


def test_a_spool_without_lines_has_its_columns():
    with Spool({"a": np.int32}) as spool:
        assert spool.columns()["a"].dtype == np.int32
    with Spool() as spool:
        spool.append({"a": np.ones(1)})
        with pytest.raises(DataError, match="different columns"):
            spool.append({"b": np.ones(1)})


def test_a_full_disk_is_one_line(tiny, monkeypatch):
    """A hole in a file would end the process by a signal instead."""

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(paged.os, "posix_fallocate", full)
    with pytest.raises(InputError, match=r"no room for prepared lines .*TMPDIR"):
        blank(10, np.int64)
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(InputError, match="no room"), Spool() as spool:
        spool.append({"a": np.ones(1)})


def test_order_by_radix_is_that_of_a_sort():
    """Of one digit or four, over the whole range of 64 bits, times and nothing at all."""
    rng = np.random.default_rng(0)
    ends = np.array([np.iinfo(np.int64).min, np.iinfo(np.int64).max, 0, -1, 0])
    for count in (0, 1, 300):
        keys = (
            rng.integers(-3, 3, count).astype(np.int16),
            rng.choice(ends, count),
            rng.integers(-(2**40), 2**40, count) // 2**38,
            np.datetime64("1900-01-01", "ns") + rng.integers(0, 4, count) * 10**17,
        )
        for at in range(1, 5):
            wanted = np.lexsort([key.astype(np.int64) for key in keys[:at]])
            assert np.array_equal(stable_order(*keys[:at]), wanted)


def test_an_error_ahead_is_raised_where_it_is_met():
    """After the parts before it."""

    def parts():
        yield from (1, 2)
        raise DataError("broken")

    found = []
    with pytest.raises(DataError, match="broken"):
        found.extend(ahead(parts()))
    assert found == [1, 2]


@pytest.mark.parametrize("spread", [1, 2**40, -1])
def test_bounds_of_parts_hold_for_any_keys(tiny, spread):
    """Keys side by side, far apart, and a few that hold nearly all of the lines."""
    keys = np.repeat(np.arange(100), 3)
    keys = np.where(keys < 90, keys % 4, keys * 2**50) if spread < 0 else keys * spread
    table = {"key": np.random.default_rng(0).permutation(keys), "place": np.arange(300)}
    parts = list(grouped([table], "key", 7))
    ends = [(part["key"].min(), part["key"].max()) for part in parts]
    assert all(one[1] < other[0] for one, other in pairwise(ends))
    for part in parts:
        assert np.array_equal(table["key"][part["place"]], part["key"])
    assert sum(len(part["key"]) for part in parts) == 300
    assert len(parts) > (4 if spread < 0 else 20)


@pytest.mark.parametrize("least", [None, 0, 5, 99])
def test_parts_have_all_lines_of_a_key_in_their_order(tiny, least):
    """Ranges of the key ascend from part to part, over several tables, one of them empty."""
    tables = [lines(seed, count) for seed, count in ((1, 60), (2, 0), (3, 90))]
    whole = {name: np.concatenate([t[name] for t in tables]) for name in tables[0]}
    keys = whole["customer"]
    place = np.argsort(keys, kind="stable")
    place = place[keys[place] >= (-9 if least is None else least)]
    parts = list(grouped(tables, "customer", 7, least))
    ends = [(part["customer"].min(), part["customer"].max()) for part in parts]
    assert all(one[1] < other[0] for one, other in pairwise(ends))
    ordered_parts = [
        {n: c[np.argsort(part["customer"], kind="stable")] for n, c in part.items()}
        for part in parts
    ]
    for name, column in whole.items():
        found = [part[name] for part in ordered_parts]
        assert np.array_equal(np.concatenate([*found, column[:0]]), column[place]), name
    if least is None:
        assert len(parts) > 5


def test_long_preparations_say_how_far_they_are(tiny, monkeypatch, caplog):
    """As reading does: of how many lines, and how long it may take."""
    monkeypatch.setattr(pace, "EVERY", 0.0)
    with caplog.at_level(logging.INFO, "securefl.data.grouping"):
        for _ in grouped([lines(1, 60)], "customer"):
            pass
    assert "prepared, by customer," in caplog.messages[0]
    assert "lines of about 60" in caplog.messages[0]
    assert "s left" in caplog.messages[0]
    assert caplog.messages[-1] == "prepared, by customer, 60 lines"


def test_tables_are_the_same_in_parts(request):
    """Order, visits of customers without receipts, and digests."""
    wanted = [frame_digest(frame) for frame in every_order()]
    request.getfixturevalue("tiny")
    assert [frame_digest(frame) for frame in every_order()] == wanted


def every_order():
    for seed in range(3):
        for sort in (True, False):
            for baskets in (True, False):
                columns = lines(seed, sort=sort)
                if not baskets:
                    del columns["basket"]
                yield ordered(columns, with_baskets=baskets)


def test_training_arrays_are_the_same_in_parts(request):
    """Bit for bit, and so are the held-out cases and the counts that all agree on."""
    whole = arrays()
    request.getfixturevalue("tiny")
    parts = arrays()
    assert whole.keys() == parts.keys()
    for name, column in whole.items():
        assert column.dtype == parts[name].dtype, name
        assert np.array_equal(column, parts[name]), name
    assert len(whole["training.item"]) > 40


def arrays():
    members = [RetailerTables(str(n), ordered(lines(n), with_baskets=True)) for n in range(2)]
    products = np.arange(1, 14)
    settings = RecommendationSettings(min_products=3, negatives=4)
    end = ranking_examples.last_moment(members[0].transactions["time"])
    each = (purchases_of(part.transactions, products) for part in customer_parts(members[0]))
    found = RetailerCases(each, len(products), end, settings)
    units, cases = found.examples(), found.cases()
    counts = buyers(RetailData("x", tuple(members), pd.DataFrame()))
    return {
        "customers": found.cut.customers,
        "sold": found.sold,
        "weights": found.weights,
        "training.item": units.histories.items.numpy(),
        "training.start": units.histories.start.numpy(),
        "training.weights": units.histories.weights.numpy(),
        "training.baskets": units.histories.baskets.numpy(),
        "prior": units.prior.numpy(),
        "known": cases["test"].known.items.numpy(),
        "positive": cases["validation"].ranking.positive.numpy(),
        "negatives": cases["test"].ranking.negatives.numpy(),
        "bought": cases["test"].ranking.bought.numpy(),
        "popularity": cases["test"].popularity.numpy(),
        "buyers": counts.to_numpy(),
        "end": np.array([end]),
    }
