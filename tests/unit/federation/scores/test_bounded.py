"""One unit moves the released integers by its bound at most, whatever its data are."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securefl.config.score_bounds import ScoreBound, ScoreTable
from securefl.federation.scores.bounded import STEPS, bounded_integers, metric_sums, sensitivity
from securefl.ml.metrics.unit_sums import UnitSums, by_unit

TABLE = ScoreTable(
    "released",
    {
        "hit": ScoreBound(2.0, 3.0),
        "loss": ScoreBound(5.0, 3.0),
        "size": ScoreBound(1.0, 1.0, "weeks"),
    },
)
MOST = 1 << 20
EXTREME = st.sampled_from(
    [0.0, 1.0, -1.0, 0.5, 3.0, 1e-300, 1e308, -1e308, math.inf, -math.inf, math.nan]
)
ROW = st.tuples(*[EXTREME] * 5)


def parts_of(rows):
    columns = np.array(rows, dtype=float).reshape(-1, 5).T
    hit, loss, size, cases, weeks = columns
    return UnitSums({"hit": hit, "loss": loss, "size": size}, {"cases": cases, "weeks": weeks})


@settings(max_examples=100, deadline=None)
@given(st.lists(ROW, max_size=6), ROW, ROW)
def test_sensitivity_of_extreme_neighbours(others, removed, other):
    """A unit added moves the integers by the stated norm at most; one replaced, by twice that."""
    bound = sensitivity(TABLE).l2
    without, with_one, with_other = (
        bounded_integers(TABLE, parts_of(rows), MOST)
        for rows in (others, [*others, removed], [*others, other])
    )
    assert np.linalg.norm(with_one - without) <= bound * (1 + 1e-12)
    assert np.linalg.norm(with_one - with_other) <= 2 * bound * (1 + 1e-12)


def test_sensitivity_is_reached_by_a_unit_at_its_bounds():
    """The stated sensitivity is not larger than needed."""
    empty, full = parts_of([]), parts_of([(2.0, 5.0, 1.0, 3.0, 1.0)])
    moved = bounded_integers(TABLE, full, MOST) - bounded_integers(TABLE, empty, MOST)
    assert np.linalg.norm(moved) == pytest.approx(sensitivity(TABLE).l2, rel=1e-12)


def test_sensitivity_where_the_whole_sum_is_clipped():
    """The bound on a member's units brings neighbours no further apart."""
    rows = [(2.0, 5.0, 1.0, 3.0, 1.0)] * 4
    sums = [bounded_integers(TABLE, parts_of(rows[:count]), 2) for count in (1, 2, 3, 4)]
    moved = [np.linalg.norm(after - before) for before, after in pairwise(sums)]
    assert max(moved) <= sensitivity(TABLE).l2
    assert np.array_equal(sums[2], sums[3])


def test_metric_sums_of_units_within_bounds():
    """Below the bounds nothing is clipped, and rounding is half a step a unit at most."""
    draw = np.random.default_rng(3)
    rows = draw.uniform(0.0, 1.0, (500, 5))
    found = metric_sums(TABLE, bounded_integers(TABLE, parts_of(rows), MOST))
    for column, name in enumerate(TABLE.metrics):
        largest = TABLE.metrics[name].numerator
        assert abs(found.ratios[name].numerator - rows[:, column].sum()) <= 500 * largest / STEPS


def test_metric_sums_of_equal_denominators_are_equal():
    """Metrics with one denominator get it from one coordinate."""
    found = metric_sums(TABLE, np.arange(5) * STEPS)
    assert TABLE.dimension == 5
    assert found.ratios["hit"].denominator == found.ratios["loss"].denominator == 9.0
    assert found.ratios["size"].denominator == 4.0


def test_a_unit_with_many_cases_keeps_its_ratio():
    """A unit above the bound on cases is scaled as a whole."""
    once = bounded_integers(TABLE, parts_of([(1.0, 1.5, 0.0, 3.0, 0.0)]), MOST)
    often = bounded_integers(TABLE, parts_of([(10.0, 15.0, 0.0, 30.0, 0.0)]), MOST)
    assert np.array_equal(once, often)


@pytest.mark.parametrize("bound", [0.0, -1.0, math.inf, math.nan])
def test_a_bound_that_bounds_nothing_is_refused(bound):
    """A table cannot state a bound that no noise covers."""
    with pytest.raises(ValueError, match="no usable bound"):
        ScoreBound(bound)


def test_two_bounds_on_one_denominator_are_refused():
    """One coordinate has one bound."""
    with pytest.raises(ValueError, match="two bounds"):
        ScoreTable("released", {"a": ScoreBound(1.0, 1.0), "b": ScoreBound(1.0, 2.0)})


def test_by_unit_sums_the_cases_of_each_owner():
    """A customer with several cases is one unit."""
    owners = np.array([7, 3, 7, 5])
    assert by_unit(owners, np.array([1.0, 2.0, 4.0, 8.0])).tolist() == [2.0, 8.0, 5.0]
