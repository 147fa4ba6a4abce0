import numpy as np
import pytest

from securefl.ml.metrics.forecasting import quantile_tally

LEVELS = (0.25, 0.5, 0.9)


def test_the_metrics_are_what_they_say():
    rng = np.random.default_rng(0)
    actual, scale = rng.poisson(20, 30).astype(float), rng.uniform(10, 30, 30)
    forecast = np.sort(rng.uniform(10, 30, (30, 3)), axis=1)
    found = quantile_tally(forecast, actual, scale, LEVELS).values()
    losses = np.zeros(30)
    for case in range(30):
        for column, level in enumerate(LEVELS):
            miss = actual[case] - forecast[case, column]
            losses[case] += (level * miss if miss > 0 else (level - 1) * miss) / 3
    assert found["pinball"] == pytest.approx(np.mean(losses / scale))
    assert found["quantile_loss"] == pytest.approx(losses.sum() / actual.sum())
    for column, level in enumerate(LEVELS):
        assert found[f"below@{level:g}"] == np.mean(actual <= forecast[:, column])
    assert found["mape"] == pytest.approx(np.mean(np.abs(forecast[:, 1] - actual) / actual))


def test_there_has_to_be_a_quantile_a_case_and_level():
    with pytest.raises(ValueError, match="quantiles for 4 cases"):
        quantile_tally(np.zeros((4, 2)), np.ones(4), np.ones(4), LEVELS)
