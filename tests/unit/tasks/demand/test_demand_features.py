import numpy as np
import pytest

from securefl.tasks.demand.features import (
    FIRST_DAYS,
    TUTORIAL_INPUTS,
    calendar,
    feature_count,
    features,
    lagged,
    moving_average,
    tutorial_inputs,
)
from securefl.tasks.demand.promotions import COMPARED
from securefl.tasks.demand.series import DAY, WEEK

CADENCES = pytest.mark.parametrize("cadence", [WEEK, DAY], ids=["week", "day"])


def days(cadence, count):
    return np.datetime64("2024-01-01") + np.arange(count) * np.timedelta64(cadence.days, "D")


def made(cadence, demand, total, uplift):
    return features(demand, total, uplift, days(cadence, demand.shape[1]), cadence)


def random_history(steps, series=4):
    rng = np.random.default_rng(2)
    demand = rng.poisson(50, (series, steps)).astype(np.float64)
    return demand, demand.sum(axis=0) * 3, rng.normal(0, 0.2, (series, steps, len(COMPARED)))


def test_a_moving_average_ends_before_its_step():
    demand = np.array([[2.0, 4.0, 9.0, 1.0]])
    assert moving_average(demand, 2).tolist() == [[0, 2, 3, 6.5]]
    assert moving_average(demand, 99).tolist() == [[0, 2, 3, 5]]
    assert lagged(demand, 1).tolist() == [[0, 2, 4, 9]]


@CADENCES
def test_the_future_changes_nothing(cadence):
    steps = cadence.warmup + 8
    demand, total, uplift = random_history(steps)
    before = made(cadence, demand, total, uplift)
    for t in range(cadence.warmup, steps):
        later, busier, planned = demand.copy(), total.copy(), uplift.copy()
        later[:, t:] += 1000  # step t itself is what is forecast
        busier[t:] += 1000
        planned[:, t + 1 :] += 1
        after = made(cadence, later, busier, planned)
        assert np.array_equal(before.inputs[:, : t + 1], after.inputs[:, : t + 1])
        assert np.array_equal(before.level[:, : t + 1], after.level[:, : t + 1])
        assert np.array_equal(before.baseline[:, :, : t + 1], after.baseline[:, :, : t + 1])


@CADENCES
def test_the_past_changes_everything_about_the_next_step(cadence):
    steps = cadence.warmup + 2
    demand, total, uplift = random_history(steps)
    before = made(cadence, demand, total, uplift)
    demand[:, -2] += 10
    after = made(cadence, demand, total, uplift)
    assert (before.level[:, -1] != after.level[:, -1]).all()
    assert (before.baseline[:, :, -1] != after.baseline[:, :, -1]).all()


@CADENCES
def test_a_retailers_size_does_not_enter_but_through_the_noise_of_small_counts(cadence):
    demand, total, uplift = random_history(cadence.warmup + 3)
    small = made(cadence, demand * 1e4, total * 1e4, uplift)
    large = made(cadence, demand * 1e6, total * 1e6, uplift)
    last = slice(cadence.warmup, None)
    assert np.allclose(small.inputs[:, last], large.inputs[:, last], atol=3e-3)
    raised = large.level[:, last] - small.level[:, last]
    assert np.allclose(raised, np.log(100), atol=1e-3)


@CADENCES
def test_the_number_of_inputs_is_known_before_there_are_data(cadence):
    result = made(cadence, *random_history(cadence.warmup + 1))
    assert result.inputs.shape == (4, cadence.warmup + 1, feature_count(cadence))
    assert len(result.baseline) == len(cadence.baseline)
    assert np.isfinite(result.inputs).all()


def test_a_series_without_sales_gives_finite_inputs():
    steps = WEEK.warmup + 4
    result = made(WEEK, np.zeros((1, steps)), np.zeros(steps), np.zeros((1, steps, len(COMPARED))))
    assert np.isfinite(result.inputs).all()
    assert (result.level == 0).all()


def test_the_calendar_knows_the_beginning_of_a_month():
    first = calendar(days(WEEK, 6), WEEK)[0]  # 2024-01-01 is a Monday
    assert first.tolist() == pytest.approx([1, 0, 0, 0, 4 / FIRST_DAYS, 3 / FIRST_DAYS])


def test_the_calendar_of_days_has_one_column_a_weekday():
    columns = calendar(days(DAY, 15), DAY)[-7:]
    assert np.argmax(columns, axis=0).tolist() == [*range(7), *range(7), 0]


def test_tutorial_inputs_are_its_seven():
    row = tutorial_inputs(10, retailer=3, cadence=DAY)[9]
    angle, year = 2 * np.pi * 9 / 7, 2 * np.pi * 9 / 365
    waves = [np.sin(angle), np.cos(angle), np.sin(year), np.cos(year)]
    assert row.tolist() == pytest.approx([2 / 7, 9 / 365, *waves, 0.3], abs=1e-6)
    assert len(row) == TUTORIAL_INPUTS
