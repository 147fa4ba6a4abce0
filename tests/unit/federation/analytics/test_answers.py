"""From integers to answers, with and without noise."""

import numpy as np
import pytest

from securefl.data.tables import RetailerTables
from securefl.errors import ConfigError
from securefl.federation.analytics.answers import rows_of
from securefl.federation.analytics.contributions import contribution
from securefl.federation.analytics.queries import ask_for
from securefl.privacy.noise.csprng import AesCtrRng

QUANTILES = ask_for("quantiles", "price", bins=100, limits=(0.0, 10.0))


@pytest.fixture
def exactly(catalogue, tables_of):
    """The answer over one retailer's lines, without noise."""

    def answer(query, lines, deviation=0.0, **options):
        total = contribution(RetailerTables("a", lines), catalogue, query, AesCtrRng())
        return rows_of(query, catalogue, total, deviation, **options)

    return answer


@pytest.fixture
def lines(tables_of):
    return tables_of.random(1)


def test_the_mean_is_that_of_the_records(exactly, lines):
    (row,) = exactly(ask_for("mean", "value", records=4096, limits=(0.0, 100.0)), lines)
    assert row.value == pytest.approx(lines["value"].mean(), abs=50 / 16 / 2)
    assert row.low == row.value == row.high


def test_quantiles_are_within_a_bin_of_the_exact_ones(exactly, lines):
    query = ask_for("quantiles", "value", records=4096, bins=200, limits=(0.0, 40.0))
    rows = exactly(query, lines, at=(0.1, 0.5, 0.9))
    exact = np.quantile(lines["value"], [0.1, 0.5, 0.9])
    assert [row.name for row in rows] == ["0.1", "0.5", "0.9"]
    np.testing.assert_allclose([row.value for row in rows], exact, atol=0.25)


def test_noised_quantiles_never_cross_and_their_ranges_hold_the_truth(catalogue):
    draw = np.random.default_rng(1)
    true = draw.multinomial(20_000, np.full(100, 0.01))
    levels, held = (0.1, 0.25, 0.5, 0.75, 0.9), 0
    exact = rows_of(QUANTILES, catalogue, true, 0.0, at=levels)
    for _ in range(200):
        noised = true + np.rint(draw.normal(0, 60, 100)).astype(np.int64)
        rows = rows_of(QUANTILES, catalogue, noised, 60.0, at=levels)
        values = [row.value for row in rows]
        assert values == sorted(values)
        held += sum(one.low <= e.value <= one.high for one, e in zip(rows, exact, strict=True))
    assert 0.9 < held / 1000 <= 0.995


def test_the_range_of_a_noised_mean_holds_the_truth_as_often_as_it_says(catalogue):
    query, held = ask_for("mean", "price", records=1, limits=(0.0, 10.0)), 0
    draw = np.random.default_rng(2)
    true = np.array([-3_000_000_000, 10_000_000_000])  # 3.5
    for _ in range(2000):
        noised = true + np.rint(draw.normal(0, 4e8, 2)).astype(np.int64)
        (row,) = rows_of(query, catalogue, noised, 4e8)
        held += row.low <= 3.5 <= row.high
    assert 0.93 < held / 2000 < 0.97


def test_where_noise_drowns_everything_a_mean_says_so(catalogue):
    query = ask_for("mean", "price", limits=(2.0, 6.0))
    (row,) = rows_of(query, catalogue, np.array([5, -3]), 1000.0)
    assert (row.value, row.low, row.high) == (4.0, 2.0, 6.0)


def test_a_list_of_the_top_is_sorted_and_as_long_as_asked(exactly, lines):
    rows = exactly(ask_for("top", "product", records=4096), lines, length=5)
    counts = lines.groupby("product")["customer"].nunique()
    assert [row.value for row in rows] == sorted(counts, reverse=True)[:5]
    assert all(counts[int(row.name)] == row.value for row in rows)


def test_shares_of_a_histogram_add_up(exactly, lines):
    rows = exactly(ask_for("histogram", "category", records=4096), lines)
    assert [row.name for row in rows] == ["c0", "c1", "c2", "c3", "c4"]
    assert sum(row.value for row in rows) == pytest.approx(1.0)


def test_the_ranges_of_shares_hold_the_truth_as_often_as_they_say(catalogue):
    query, held = ask_for("histogram", "category"), 0
    draw, true = np.random.default_rng(3), np.array([60_000, 9_000, 9_000, 1_000, 1_000])
    for _ in range(1000):
        noised = true + np.rint(draw.normal(0, 500, 5)).astype(np.int64)
        rows = rows_of(query, catalogue, noised, 500.0)
        shares = zip(rows, true / true.sum(), strict=True)
        held += sum(row.low <= share <= row.high for row, share in shares)
    assert 0.93 < held / 5000 < 0.97


def test_numbers_out_of_range_count_in_the_outer_bins(exactly, tables_of):
    lines = tables_of.lines(customer=[1, 2, 3], product=1, value=[-5.0, 5.0, 500.0])
    rows = exactly(ask_for("histogram", "value", bins=2, limits=(0.0, 10.0)), lines)
    assert [(row.name, round(3 * row.value)) for row in rows] == [("0 to 5", 1), ("5 to 10", 2)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("sum", "category"), "holds names"),
        (("top", "price"), "holds numbers"),
        (("mean", "colour"), "there is no 'colour'"),
        (("mean", "price", {"limits": (5.0, 5.0)}), "smaller to a larger"),
        (("sum", "discount", {"limits": (-5e-324, 0.0)}), "at least 1e-06 wide"),
        (("histogram", "price", {"limits": (1e9 - 5e-7, 1e9)}), "at least 1e-06 wide"),
        (("top", "product", {"limits": (0.0, 1.0)}), "has none"),
        (("sum", "price", {"bins": 5}), "bins"),
        (("sum", "price", {"records": 10**6}), "records"),
        (("histogram", "brand", {"records": 2, "repeats": 3}), "repeats"),
    ],
)
def test_a_query_that_makes_no_sense_is_told_in_a_line(arguments, words):
    *names, options = arguments if len(arguments) == 3 else (*arguments, {})
    with pytest.raises(ConfigError, match=words) as error:
        ask_for(*names, **options)
    assert "\n" not in str(error.value)


def test_a_quantile_is_between_0_and_1(catalogue):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        rows_of(QUANTILES, catalogue, np.ones(100, dtype=np.int64), 0.0, at=(1.0,))
