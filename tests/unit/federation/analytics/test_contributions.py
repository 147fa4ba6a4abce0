"""What one customer can move, whatever it bought: every bound is held against removals."""

import numpy as np
import pandas as pd
import pytest

from securefl.data.schema import ANONYMOUS
from securefl.data.tables import RetailerTables
from securefl.errors import ConfigError
from securefl.federation.analytics.contributions import contribution, sensitivity, step, steps
from securefl.federation.analytics.queries import Query, ask_for, read_query
from securefl.privacy.noise.csprng import AesCtrRng

QUERIES = [
    ask_for("sum", "value", records=3, limits=(0.0, 5.0)),
    ask_for("sum", "quantity", records=2, limits=(-1.0, 2.0)),
    ask_for("sum", "spend"),
    ask_for("mean", "basket-value", records=2, limits=(0.0, 40.0)),
    ask_for("mean", "price", records=7),
    ask_for("histogram", "category", records=5),
    ask_for("histogram", "price", records=5, repeats=2, bins=4, limits=(0.0, 10.0)),
    ask_for("quantiles", "basket-size", records=3, bins=10, limits=(0.0, 10.0)),
    ask_for("top", "product", records=4),
    ask_for("top", "category", records=5, repeats=2),
]


def name(query):
    return f"{query.kind}-{query.column}"


@pytest.mark.parametrize("query", QUERIES, ids=name)
def test_removing_any_one_customer_stays_within_the_sensitivity(query, catalogue, tables_of):
    lines, words = tables_of.random(3), tables_of.no_words
    bound = sensitivity(query, catalogue)
    whole = contribution(RetailerTables("a", lines), catalogue, query, words)
    assert whole.shape == (bound.dimension,)
    moved = []
    for customer in lines["customer"].unique():
        rest = RetailerTables("a", lines[lines["customer"] != customer])
        moved.append(np.linalg.norm(whole - contribution(rest, catalogue, query, words)))
    assert 0 < max(moved) <= bound.l2 + 1e-9


@pytest.mark.parametrize("query", QUERIES, ids=name)
def test_no_single_customer_with_random_draws_goes_beyond_the_bound(query, catalogue, tables_of):
    lines = tables_of.random(4, customers=1, lines=2000)
    alone = contribution(RetailerTables("a", lines), catalogue, query, AesCtrRng())
    assert np.linalg.norm(alone) <= sensitivity(query, catalogue).l2 + 1e-9


@pytest.mark.parametrize(
    ("query", "lines"),
    [
        (ask_for("sum", "value", records=3, limits=(0.0, 5.0)), {"value": 1e9}),
        (ask_for("mean", "value", records=3, limits=(0.0, 5.0)), {"value": 1e9}),
        (ask_for("histogram", "category", records=6), {"product": 3}),
        (ask_for("top", "product", records=12), {"product": np.tile(np.arange(12), 10)}),
    ],
    ids=["sum", "mean", "histogram", "top"],
)
def test_the_bound_is_reached_by_the_customer_that_it_is_for(query, lines, catalogue, tables_of):
    rows = {"customer": np.full(120, 7), "product": 1, "value": 1.0} | lines
    alone = contribution(
        RetailerTables("a", tables_of.lines(**rows)), catalogue, query, AesCtrRng()
    )
    assert np.linalg.norm(alone) == pytest.approx(sensitivity(query, catalogue).l2)


def test_a_customer_of_several_retailers_is_covered_by_as_many_times_the_bound(catalogue):
    once = sensitivity(ask_for("top", "product", records=9), catalogue)
    thrice = sensitivity(ask_for("top", "product", records=9, retailers=3), catalogue)
    assert thrice.l2 == 3 * once.l2 == 9.0


def test_what_counts_of_a_customer_is_drawn_anew_and_evenly(catalogue, tables_of):
    lines = tables_of.lines(customer=np.zeros(12), product=np.arange(12), value=1.0)
    query = ask_for("top", "product", records=3)
    tables = RetailerTables("a", lines.astype({"customer": "int64"}))
    drawn = sum(contribution(tables, catalogue, query, AesCtrRng()) for _ in range(400))
    assert drawn.sum() == 1200
    assert 50 < drawn.min() <= drawn.max() < 160  # 100 each, deviation 8.7


def test_sales_to_nobody_known_count_nowhere(catalogue, tables_of):
    lines = tables_of.random(5)
    more = pd.concat([lines, lines.assign(customer=ANONYMOUS)])
    for query in QUERIES:
        counted = [
            contribution(RetailerTables("a", rows), catalogue, query, tables_of.no_words)
            for rows in (lines, more)
        ]
        np.testing.assert_array_equal(*counted)


def test_without_a_binding_bound_the_integers_are_the_truth(catalogue, tables_of):
    lines = tables_of.random(6)
    tables = RetailerTables("a", lines)
    counts = contribution(
        tables, catalogue, ask_for("histogram", "product", records=4096), AesCtrRng()
    )
    np.testing.assert_array_equal(counts, np.bincount(lines["product"], minlength=12))
    query = ask_for("sum", "value", records=4096, limits=(0.0, 100.0))
    (total,) = contribution(tables, catalogue, query, AesCtrRng())
    customers = lines["customer"].nunique()
    assert abs(total * step(query) - lines["value"].sum()) <= customers * step(query) / 2
    assert steps(query) == 16


@pytest.mark.parametrize("apart", [2**61, 2**62, -(2**62)])
def test_ids_that_wrap_round_are_two_customers(apart, catalogue, tables_of):
    """Ids times the number of bins once wrapped round, and one customer took another's place."""
    query = ask_for("histogram", "price", records=1, bins=8, limits=(0.0, 8.0))
    ids = np.array([5, 5 + apart], dtype=np.int64)
    lines = tables_of.lines(customer=ids, product=1, value=1.0)
    both = contribution(RetailerTables("a", lines), catalogue, query, AesCtrRng())
    alone = contribution(RetailerTables("a", lines[:1]), catalogue, query, AesCtrRng())
    assert both.sum() == 2 * alone.sum() == 2


@pytest.mark.parametrize("query", QUERIES[:-2], ids=name)
@pytest.mark.parametrize("amount", [np.nan, np.inf, 1.7e308, 5e-324])
def test_no_amount_breaks_a_bound(query, amount, catalogue, tables_of):
    """What is no number is left out; it was once the smallest integer, and decided the sum."""
    lines = tables_of.random(3)
    wild = lines.iloc[:40].assign(customer=2**63 - 1, value=amount, quantity=amount)
    more = pd.concat([lines, wild], ignore_index=True)
    words, bound = tables_of.no_words, sensitivity(query, catalogue).l2
    with np.errstate(all="ignore"):
        moved = [
            contribution(RetailerTables("a", one), catalogue, query, words) for one in (lines, more)
        ]
    assert np.linalg.norm(moved[1] - moved[0]) <= bound + 1e-9


NARROW = [(-5e-324, 0.0), (0.0, 1e-300), (1e9 - 1e-7, 1e9)]


@pytest.mark.parametrize("limits", NARROW)
@pytest.mark.parametrize("kind", ["sum", "mean", "histogram", "quantiles"])
def test_a_range_of_no_width_is_no_query(kind, limits, catalogue, tables_of):
    """Its steps are 0: a customer of total 0 once counted as the smallest integer, 10^14 bounds."""
    usual = ask_for(kind, "discount", limits=(0.0, 1.0), records=3)
    narrow = Query.model_construct(
        **usual.model_dump() | dict(zip(("low", "high"), limits, strict=True))
    )
    with pytest.raises(ConfigError, match="wide"):
        read_query(narrow.canonical())
    if kind == "sum":  # and were one asked for, no customer would exceed the bound
        lines = tables_of.random(3).assign(discount=0.0)
        with np.errstate(all="ignore"):
            found = contribution(RetailerTables("a", lines), catalogue, narrow, tables_of.no_words)
        most = sensitivity(narrow, catalogue).l2 * lines["customer"].nunique()
        assert np.abs(found).max() <= most


@pytest.mark.parametrize("query", [QUERIES[0], QUERIES[2], QUERIES[4]], ids=name)
def test_infinities_of_both_signs_break_no_bound(query, catalogue, tables_of):
    """Their total is no number, and was once the smallest integer."""
    both = np.where(np.arange(40) % 2, np.inf, -np.inf)
    wild = tables_of.random(3).iloc[:40].assign(customer=1, value=both, quantity=1.0)
    found = contribution(RetailerTables("a", wild), catalogue, query, tables_of.no_words)
    assert np.linalg.norm(found) <= sensitivity(query, catalogue).l2
