import numpy as np
import pandas as pd
import pytest

from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import DataError
from securefl.tasks.demand.series import DAY, WEEK, complete_steps, sales, vocabulary


def lines(*rows):
    frame = pd.DataFrame(list(rows), columns=["time", "product", "quantity"])
    return frame.assign(
        time=pd.to_datetime(frame["time"], format="ISO8601").astype("datetime64[ns]")
    )


def catalogue():
    return pd.DataFrame(
        {"product": [9, 4, 7], "category": ["milk", "bread", ""], "department": ["food"] * 3}
    )


def data(*frames):
    members = tuple(RetailerTables(f"r{i}", frame) for i, frame in enumerate(frames))
    return RetailData("made", members, catalogue())


def test_only_weeks_that_all_data_cover_in_full_count():
    early = lines(("2024-01-03 10:00", 4, 1.0), ("2024-01-20", 4, 1.0))
    late = lines(("2024-01-10", 4, 1.0), ("2024-01-27 23:59", 4, 1.0))
    steps = complete_steps(data(early, late), WEEK)
    assert steps.astype(str).tolist() == ["2024-01-08", "2024-01-15"]


def test_a_week_that_ends_on_the_last_day_is_complete():
    frame = lines(("2024-01-01 00:00", 4, 1.0), ("2024-01-14 22:00", 4, 1.0))
    assert len(complete_steps(data(frame), WEEK)) == 2


def test_days_are_complete_from_the_first_to_the_last():
    frame = lines(("2024-01-03 10:00", 4, 1.0), ("2024-01-05 01:00", 4, 1.0))
    steps = complete_steps(data(frame), DAY)
    assert steps.astype(str).tolist() == ["2024-01-03", "2024-01-04", "2024-01-05"]


def test_too_short_data_are_refused_in_one_line():
    with pytest.raises(DataError, match="do not cover one week"):
        complete_steps(data(lines(("2024-01-03", 4, 1.0))), WEEK)
    with pytest.raises(DataError, match="no member has transactions"):
        complete_steps(data(lines()), WEEK)


def test_quantities_add_up_by_product_week_and_key():
    frame = lines(
        ("2024-01-01", 4, 2.0),
        ("2024-01-07 23:59", 4, 3.0),
        ("2024-01-08", 4, 10.0),
        ("2024-01-09", 9, 1.0),
        ("2024-01-09", 7, 5.0),  # no category
        ("2024-01-09", 1234, 6.0),  # not in the catalogue
        ("2023-12-31", 4, 99.0),  # before the first step
        ("2024-01-15", 4, 99.0),  # after the last
    )
    steps = np.array(["2024-01-01", "2024-01-08"], dtype="datetime64[D]")
    sold = sales(RetailerTables("r", frame), steps, WEEK)
    assert sold.products.tolist() == [4, 7, 9, 1234]
    assert sold.units.tolist() == [[5, 10], [0, 5], [0, 1], [0, 6]]
    words = vocabulary(catalogue(), "category")
    assert words.keys == ("", "bread", "milk")
    assert sold.by_key(words).tolist() == [[0, 11], [5, 10], [0, 1]]


def test_products_are_keys_of_their_own_at_level_product():
    words = vocabulary(catalogue(), "product")
    assert words.keys == ("", "4", "7", "9")
    assert words.of(np.array([9, 5, 4])).tolist() == [3, 0, 1]


def test_an_empty_catalogue_knows_nothing():
    words = vocabulary(catalogue().iloc[:0], "category")
    assert words.of(np.array([9, 5])).tolist() == [0, 0]
