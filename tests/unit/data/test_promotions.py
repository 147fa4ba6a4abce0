"""Promotions by retailer, product and week, against a plain count over the generated rows."""

import pandas as pd
import pytest

from securefl.config.data import CompleteJourneySettings
from securefl.data.sources.complete_journey.source import RETAILERS, load, store_map
from securefl.data.sources.complete_journey.tables import week_start
from securefl.errors import DataError


def promotions(folder, weeks=(2, 53)):
    options = CompleteJourneySettings(folder=folder, promotions=True, weeks=weeks, cache=False)
    return load(options).promotions


def counted(journey, flag, location):
    """Share of the listed stores that used a location, by member, product and week."""
    raw = journey.promotions
    raw = raw.assign(member=raw["store_id"].map(store_map())).dropna(subset="member")
    products = load(CompleteJourneySettings(folder=journey.folder, cache=False)).products
    raw = raw[raw["product_id"].isin(products["product"]) & (raw["week"] >= 2)]
    stores = raw.groupby(["member", "week"])["store_id"].nunique()
    used = raw[raw[location] != "0"]
    used = used.groupby(["member", "week", "product_id"])["store_id"].nunique()
    return (used / stores).rename(flag)


@pytest.mark.parametrize("flag", ["display", "mailer"])
def test_shares_are_distinct_stores_over_listed_stores(journey, flag):
    expected = counted(journey, flag, f"{flag}_location")
    assert journey.promotions.duplicated(["product_id", "store_id", "week"]).any()
    frame = promotions(journey.folder)
    frame = frame[frame[flag]]
    number = frame["member"].map({name: number for number, name in enumerate(RETAILERS)})
    week = (frame["week"] - week_start(2)).dt.days // 7 + 2
    found = pd.Series(
        frame[f"{flag}_share"].to_numpy(float),
        index=pd.MultiIndex.from_arrays([number, week, frame["product"]]),
    )
    assert len(found) == len(expected)
    pd.testing.assert_series_equal(
        found.sort_index(), expected.sort_index(), check_names=False, check_index_type=False
    )


def test_flags_say_that_a_share_is_above_zero(journey):
    frame = promotions(journey.folder)
    assert (frame["display"] == (frame["display_share"] > 0)).all()
    assert (frame["display"] | frame["mailer"]).all()
    assert not frame.duplicated(["member", "product", "week"]).any()


def test_only_the_weeks_wanted_are_kept(journey):
    frame = promotions(journey.folder, (3, 4))
    assert set(frame["week"]) == {week_start(3), week_start(4)}
    everything = promotions(journey.folder)
    whole = everything[everything["week"].isin([week_start(3), week_start(4)])]
    pd.testing.assert_frame_equal(frame, whole.reset_index(drop=True))


def test_rows_need_not_be_sorted_by_week(journey, tmp_path):
    shuffled = journey.promotions.sample(frac=1, random_state=3)
    folder = journey.rewrite("promotions", shuffled, tmp_path)
    pd.testing.assert_frame_equal(promotions(folder), promotions(journey.folder))


def test_a_file_without_rows_is_an_error(journey, tmp_path):
    folder = journey.rewrite("promotions", journey.promotions.iloc[:0], tmp_path)
    with pytest.raises(DataError, match=r"promotions\.parquet: no promotions"):
        promotions(folder)


def test_a_missing_column_is_named(journey, tmp_path):
    renamed = journey.promotions.rename(columns={"mailer_location": "mailer"})
    folder = journey.rewrite("promotions", renamed, tmp_path)
    with pytest.raises(DataError, match=r"promotions\.parquet: no column 'mailer_location'"):
        promotions(folder)


def test_a_location_that_is_not_text_is_named(journey, tmp_path):
    numeric = journey.promotions.assign(display_location=3)
    folder = journey.rewrite("promotions", numeric, tmp_path)
    with pytest.raises(DataError, match="column 'display_location' holds int64, wanted str"):
        promotions(folder)
