"""Runs in a row: their names, their days, and when each begins."""

from datetime import UTC, date, datetime

import pytest

from securefl.config.load import load_config, merge
from securefl.errors import ConfigError, InputError

TREE = {
    "task": "recommendation",
    "data": {
        "source": "files",
        "catalogue": "catalogue.csv",
        "members": [{"name": name, "transactions": "sales.csv"} for name in ("a", "b", "c")],
        "period": ["2026-01-05", "2026-03-01"],
    },
    "schedule": {"runs": 4},
    "start": {"model": "ab" * 32},
}


def config(**changes):
    return load_config(None, merge(TREE, changes))


def test_days_of_each_run_are_later():
    agreed = config()
    assert agreed.scheduled(1) == agreed
    third = agreed.scheduled(3)
    assert third.period == (date(2026, 1, 19), date(2026, 3, 15))
    growing = config(schedule={"first_day": "stays", "days": 30})
    assert growing.scheduled(2).period == (date(2026, 1, 5), date(2026, 3, 31))


def test_agreed_start_is_the_first_runs_alone():
    assert config().scheduled(1).goes_on
    assert not config().scheduled(2).goes_on


def test_runs_begin_after_their_last_day_and_delay():
    assert config().due(1) == datetime(2026, 3, 3, tzinfo=UTC)
    assert config(schedule={"delay": 0}).due(2) == datetime(2026, 3, 9, tzinfo=UTC)


@pytest.mark.parametrize("name", ["0", "5", "01", "+1", "", "two", "../1", "1 "])
def test_other_names_are_no_run_of_a_schedule(name):
    """Each run has one name: it is in the run's id."""
    schedule = config().schedule
    assert [schedule.number(str(number)) for number in range(1, 5)] == [1, 2, 3, 4]
    with pytest.raises(InputError, match="runs 1 to 4"):
        schedule.number(name)


def test_schedule_without_days_that_move_is_refused():
    for data in ({"source": "complete-journey"}, {**TREE["data"], "period": None}):
        with pytest.raises(ConfigError, match="schedule"):
            load_config(None, {"task": "recommendation", "data": data, "schedule": {"runs": 2}})


@pytest.mark.parametrize("change", [{"runs": 1}, {"runs": 61}, {"days": 0}, {"delay": -1}])
def test_limits_of_a_schedule(change):
    with pytest.raises(ConfigError):
        config(schedule=change)
