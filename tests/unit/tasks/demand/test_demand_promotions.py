import numpy as np
import pandas as pd
import pytest

from securefl.tasks.demand.promotions import COMPARED, PRIOR_STEPS, planned_uplift, promotion_states
from securefl.tasks.demand.series import Sales


def test_states_tell_display_mailer_and_both_apart():
    week = pd.to_datetime(["2024-01-01", "2024-01-01", "2024-01-08", "2024-02-05"])
    table = pd.DataFrame(
        {
            "product": [5, 8, 8, 8],
            "week": week,
            "display": [True, False, True, True],
            "mailer": [False, True, True, False],
        }
    )
    steps = np.array(["2024-01-01", "2024-01-08"], dtype="datetime64[D]")
    state = promotion_states(table, np.array([5, 6, 8]), steps)
    assert state.tolist() == [[1, 0], [0, 0], [2, 3]]


def test_days_take_the_promotions_of_their_week():
    table = pd.DataFrame(
        {
            "product": [5],
            "week": pd.to_datetime(["2024-01-08"]),
            "display": [False],
            "mailer": [True],
        }
    )
    steps = np.arange("2024-01-05", "2024-01-17", dtype="datetime64[D]")
    state = promotion_states(table, np.array([5]), steps)
    assert state[0].tolist() == [0] * 3 + [2] * 7 + [0] * 2


def one_product(units, state):
    sold = Sales(np.array([1]), np.array([units], dtype=np.float64))
    return planned_uplift(sold, np.array([state], dtype=np.int8), np.array([0]), 1)[0]


def test_without_a_change_of_promotion_nothing_is_expected():
    assert np.allclose(one_product([3, 9, 1, 7, 2], [0] * 5), 0)
    assert np.allclose(one_product([3, 9, 1, 7, 2], [2] * 5), 0)


def test_a_mailer_is_worth_what_it_was_worth_before():
    uplift = one_product([10, 40, 10, 10, 10, 0], [0, 2, 0, 0, 0, 2])
    mean, steps = 80 / 5, np.array([4.0, 1.0])
    sums = np.array([40.0, 40.0])
    prior = sums / (mean * steps) * mean
    none, mailer = (sums + PRIOR_STEPS * prior) / (steps + PRIOR_STEPS)
    # The last four steps had one mailer themselves; the last one had none.
    usual = [(3 * none + mailer) / 4, none]
    assert uplift[5] == pytest.approx(np.log((mailer + 0.5) / (np.array(usual) + 0.5)))
    assert (uplift[5] > 0).all()


def test_a_product_never_promoted_takes_the_retailers_average_uplift():
    units = np.array([[10.0, 30.0, 10.0, 30.0, 10.0], [7.0, 7.0, 7.0, 7.0, 7.0]])
    state = np.array([[0, 1, 0, 1, 0], [0, 0, 0, 0, 1]], dtype=np.int8)
    sold = Sales(np.array([1, 2]), units)
    uplift = planned_uplift(sold, state, np.array([0, 1]), 2)
    assert uplift[1, 4, 1] > 0.2


def test_neither_future_sales_nor_future_promotions_are_seen():
    rng = np.random.default_rng(1)
    units = rng.poisson(20, (8, 12)).astype(np.float64)
    state = rng.integers(0, 4, (8, 12)).astype(np.int8)
    key = np.arange(8) % 3
    before = planned_uplift(Sales(np.arange(8), units), state, key, 3)
    for t in range(12):
        changed, planned = units.copy(), state.copy()
        changed[:, t:] *= 5  # sales of step t itself are not known either
        planned[:, t + 1 :] = 3
        after = planned_uplift(Sales(np.arange(8), changed), planned, key, 3)
        assert np.array_equal(before[:, : t + 1], after[:, : t + 1])
        if 0 < t < 11:
            assert not np.array_equal(before[:, t + 1], after[:, t + 1])
    assert before.shape == (3, 12, len(COMPARED))
