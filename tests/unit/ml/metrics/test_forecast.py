import math

import numpy as np
import pytest
from scipy import stats

from securefl.ml.metrics.forecasting import forecast_tally, poisson_floor


def test_metrics_of_three_cases_by_hand():
    tally = forecast_tally(np.array([8.0, 30.0, 1.0]), np.array([10.0, 20.0, 0.0])).values()
    assert tally["mape"] == pytest.approx((0.2 + 0.5) / 2)
    assert tally["wape"] == pytest.approx(13 / 30)
    assert tally["mae"] == pytest.approx(13 / 3)
    assert tally["rmse"] == pytest.approx(math.sqrt((4 + 100 + 1) / 3))
    assert tally["zero_demand"] == pytest.approx(1 / 3)


def test_retailers_add_up_to_what_all_cases_give():
    rng = np.random.default_rng(0)
    forecast, actual = rng.uniform(0, 90, 40), rng.poisson(30, 40).astype(np.float64)
    parts = forecast_tally(forecast[:7], actual[:7]) + forecast_tally(forecast[7:], actual[7:])
    assert parts.values() == pytest.approx(forecast_tally(forecast, actual).values())


def test_without_cases_every_metric_is_undefined():
    tally = forecast_tally(np.zeros(0), np.zeros(0)).values()
    assert all(math.isnan(value) for value in tally.values())


def test_a_perfect_forecast_has_no_error_but_keeps_its_floor():
    actual = np.array([100.0, 400.0])
    tally = forecast_tally(actual, actual).values()
    assert (tally["mape"], tally["wape"], tally["mae"], tally["rmse"]) == (0, 0, 0, 0)
    assert 0.05 < tally["mape_floor"] < 0.07


def test_forecasts_must_match_cases():
    with pytest.raises(ValueError, match="forecasts for"):
        forecast_tally(np.zeros(3), np.zeros(2))


@pytest.mark.parametrize("mean", [0.3, 2.0, 11.5, 140.0, 2500.0])
def test_floor_is_the_minimum_over_all_forecasts(mean):
    counts = np.arange(0, int(mean + 12 * math.sqrt(mean) + 20))
    mass = stats.poisson.pmf(counts, mean)
    sold = counts > 0
    low, high = max(0, int(mean - 3 * math.sqrt(mean) - 2)), int(mean + 3 * math.sqrt(mean) + 2)
    candidates = np.arange(low, high + 1)
    errors = np.abs(candidates[:, None] - counts)
    relative = (errors[:, sold] / counts[sold] * mass[sold]).sum(axis=1) / mass[sold].sum()
    floor = [column[0] for column in poisson_floor(np.array([mean]))]
    assert floor == pytest.approx([relative.min(), (errors * mass).sum(axis=1).min()], rel=1e-9)


def test_floor_of_a_large_mean_is_the_deviation_of_a_normal_law():
    relative, absolute = poisson_floor(np.array([40_000.0]))
    assert absolute[0] == pytest.approx(math.sqrt(2 * 40_000 / math.pi), rel=1e-4)
    assert relative[0] == pytest.approx(math.sqrt(2 / (math.pi * 40_000)), rel=1e-3)


def test_floor_is_in_the_order_of_its_input_and_zero_without_demand():
    relative, absolute = poisson_floor(np.array([50.0, 0.0, 5.0, 50.0]))
    assert relative[0] == relative[3] < relative[2]
    assert relative[1] == absolute[1] == 0
