"""Lines in order and as narrow as they allow: the values and digests of 64 bits."""

import numpy as np
import pandas as pd
import pytest

from securefl.config.files import LineRules
from securefl.data.digests import frame_digest
from securefl.data.paged import Spool
from securefl.data.schema import TRANSACTIONS, Origin, check_table
from securefl.data.sources.files import order
from securefl.data.sources.files.findings import Findings
from securefl.data.sources.files.order import narrowed, ordered
from securefl.data.sources.files.repetitions import FileLines, judged_repetitions
from securefl.tasks.common.ranking_examples import purchases_of


def lines(seed, count=400, *, sort=False, wide=0):
    """Columns of lines with many equal times and receipts."""
    rng = np.random.default_rng(seed)
    time = rng.integers(0, 40, count)
    return {
        "customer": rng.integers(1, 30, count) + wide,
        "product": rng.integers(-1, 12, count),
        "basket": rng.integers(0, 5, count) + wide,
        "time": np.datetime64("2024-01-01", "ns") + (np.sort(time) if sort else time) * 10**12,
        "quantity": rng.integers(1, 4, count).astype(float),
        "value": rng.random(count),
    }


def plainly(arrays):
    """The order by one sort of everything."""
    keys = (arrays["product"], arrays["basket"], arrays["time"])
    place = np.lexsort(keys)
    return {name: array[place] for name, array in arrays.items()}


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 20])
@pytest.mark.parametrize("sort", [False, True])
def test_order_in_blocks_is_the_order_of_all(monkeypatch, block, sort):
    """Whatever the blocks are, and whether the lines came in the order of time."""
    monkeypatch.setattr(order, "BLOCK", block)
    for seed in range(4):
        arrays = lines(seed, sort=sort)
        wanted = plainly(arrays)
        frame = ordered(narrowed(dict(arrays)), with_baskets=True)
        for name, column in wanted.items():
            assert np.array_equal(frame[name].to_numpy(), column), name
        assert frame["discount"].tolist() == [0.0] * len(frame)
        check_table(frame, TRANSACTIONS, Origin("lines"))


def test_one_line_is_in_order():
    """The least that there is."""
    frame = ordered(lines(0, 1), with_baskets=False)
    assert len(frame) == 1


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([2**31 - 1, -(2**31)], "int32"),
        ([2**31, 0], "int64"),
        ([-(2**31) - 1, 0], "int64"),
        ([1.0, 3.0], "int32"),
        ([1.0, 0.5], "float64"),
        ([2.0**31, 1.0], "float64"),
        ([np.nan, 1.0], "float64"),
    ],
)
def test_a_column_is_narrow_where_nothing_is_lost(values, dtype):
    """Integers that fit, and quantities without a fraction."""
    found = narrowed({"quantity": np.array(values)})["quantity"]
    assert found.dtype == dtype
    assert np.array_equal(found, np.array(values), equal_nan=True)


def test_files_of_two_widths_join_without_loss():
    """One file's customers fit into 32 bits, the other's do not."""
    parts = [narrowed(lines(1, 5)), narrowed(lines(2, 5, wide=2**40))]
    widths = [part["customer"].dtype.itemsize for part in parts]
    wanted = np.concatenate([lines(1, 5)["customer"], lines(2, 5, wide=2**40)["customer"]])
    assert widths == [4, 8]
    with Spool() as spool:
        for part in parts:
            spool.append(part)
        assert np.array_equal(spool.columns()["customer"], wanted)


def test_narrow_and_wide_tables_are_the_same_data():
    """Their digests are equal, and so are the arrays that are trained on."""
    narrow = ordered(narrowed(lines(3)), with_baskets=True)
    wide = narrow.astype(dict.fromkeys(("customer", "product", "basket"), "int64"))
    wide = wide.astype({"quantity": "float64", "discount": "float64"})
    assert narrow["customer"].dtype == "int32"
    assert frame_digest(narrow) == frame_digest(wide)
    assert frame_digest(narrow) != frame_digest(wide.assign(quantity=wide["quantity"] + 1))
    products = np.arange(2, 9)
    one, other = purchases_of(narrow, products), purchases_of(wide, products)
    for name in ("customer", "item", "basket", "time"):
        first, second = getattr(one, name), getattr(other, name)
        assert first.dtype == second.dtype == np.int64
        assert np.array_equal(first, second)
    known = wide[(wide["customer"] >= 0) & wide["product"].isin(products)]
    assert np.array_equal(one.item, np.searchsorted(products, known["product"]))


def test_a_digest_is_that_of_earlier_versions():
    """Runs that were begun before go on: bytes of 64 bits, whatever the table keeps."""
    import hashlib

    wide = ordered(lines(3), with_baskets=True)
    state = hashlib.sha256(str(wide.shape).encode())
    for name in sorted(wide.columns):
        column = wide[name].astype({"quantity": "float64"}.get(name, wide[name].dtype))
        state.update(f"\0{name}\0{column.dtype}\0".encode())
        state.update(np.ascontiguousarray(column.to_numpy()).tobytes())
    assert frame_digest(ordered(narrowed(lines(3)), with_baskets=True)) == state.digest()


def test_repeated_lines_are_counted_wherever_they_stand():
    """Between others of the same time, receipt and product, too."""
    frame = ordered(lines(5, 50), with_baskets=True)
    twice = pd.concat([frame, frame.iloc[[3, 3, 20]]]).sample(frac=1, random_state=1)
    again = ordered({name: twice[name].to_numpy() for name in twice}, with_baskets=True)
    findings = Findings("m", LineRules(repeated_lines="drop"))
    left = judged_repetitions(again, findings, "here")
    assert len(left) == 50
    assert [(one.lines, one.action) for one in findings.all] == [(3, "drop")]
    assert frame_digest(left.sort_values("value")) == frame_digest(frame.sort_values("value"))


def test_files_are_the_same_in_any_order_and_not_otherwise():
    """One cell makes another file, and so does one line more."""
    one, shuffled = lines(6, 30), np.random.default_rng(1).permutation(30)
    other = {name: array[shuffled] for name, array in lines(6, 30).items()}
    more = lines(6, 29)
    with Spool() as spool:
        whole = of_file(spool, one)
        assert whole.same(of_file(spool, other))
        other["value"] = other["value"] + np.eye(30)[4]
        assert not whole.same(of_file(spool, other))
        assert not whole.same(of_file(spool, more))
        assert not of_file(spool).same(of_file(spool))
        last = of_file(spool, other)
        last.forget()
        assert len(last) == 0
        assert len(spool) == 30 + 30 + 30 + 29


def of_file(spool, *parts):
    found = FileLines("file", spool)
    for part in parts:
        found.add(part)
    return found
