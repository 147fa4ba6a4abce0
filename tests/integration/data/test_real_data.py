"""The Complete Journey as the installed package has it."""

import importlib.util

import numpy as np
import pytest

from securefl.config.data import CompleteJourneySettings
from securefl.data.describe import describe
from securefl.data.readers import read_columns
from securefl.data.schema import check_data
from securefl.data.sources.complete_journey import source as complete_journey
from securefl.data.sources.complete_journey.source import load
from securefl.data.sources.complete_journey.tables import (
    NOT_MERCHANDISE,
    local_time,
    week_start,
)

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec(complete_journey.PACKAGE) is None, reason="needs securefl[demo]"
)


def test_the_real_weeks_start_on_monday_in_the_shops():
    raw = read_columns(
        complete_journey.package_folder() / "transactions.parquet",
        ["week", "transaction_timestamp"],
    )
    start = (raw["week"] - 2) * np.timedelta64(7, "D") + np.datetime64(week_start(2))
    late = local_time(raw["transaction_timestamp"]) - start
    assert ((late >= np.timedelta64(0)) & (late < np.timedelta64(7, "D"))).all()


def test_the_real_data_are_five_retailers_that_share_households():
    data = load(CompleteJourneySettings(cache=False))
    check_data(data)
    figures = describe(data)
    assert sum(member.transactions for member in figures.members) == 1_365_600
    assert (figures.customers, figures.shared_customers) == (2386, 855)
    assert not set(data.products["department"]) & set(NOT_MERCHANDISE)
