"""Areas, shares and what they say of epsilon."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from securefl.audit.attacks.roc import area, epsilon_at_least, hits_at, share


def test_the_area_is_the_share_of_pairs_in_the_right_order():
    rng = np.random.default_rng(0)
    inside, outside = rng.integers(0, 8, 40) + 1.0, rng.integers(0, 8, 30) + 0.0
    order = np.sign(inside[:, None] - outside[None, :])
    assert area(inside, outside, 0.95).value == pytest.approx((order + 1).mean() / 2)
    with pytest.raises(ValueError, match="two scores"):
        area(inside[:1], outside, 0.95)


def test_the_interval_of_an_area_holds_as_often_as_stated():
    rng = np.random.default_rng(1)
    found = [area(rng.random(60), rng.random(80), 0.9) for _ in range(400)]
    held = np.mean([estimate.low <= 0.5 <= estimate.high for estimate in found])
    assert 0.86 < held < 0.94


@pytest.mark.parametrize(("successes", "trials"), [(0, 20), (7, 20), (20, 20), (1, 500)])
def test_a_share_is_that_of_clopper_and_pearson(successes, trials):
    exact = binomtest(successes, trials).proportion_ci(0.9, "exact")
    found = share(successes, trials, 0.9)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_hits_are_counted_above_a_threshold_that_few_outsiders_exceed():
    outside = np.arange(100.0)
    inside = np.array([98.5, 99.5, 97.5, 3.0])
    assert hits_at(inside, outside, 0.01, 0.95).value == 0.5
    assert hits_at(inside, outside, 0.001, 0.95).value == 0.25


def test_epsilon_is_seldom_above_that_of_randomised_response():
    rng = np.random.default_rng(2)
    epsilon = 1.0
    keep = 1 / (1 + math.exp(-epsilon))

    def bound():
        inside = (rng.random(400) < keep).astype(float)
        outside = (rng.random(400) >= keep).astype(float)
        return epsilon_at_least(inside, outside, 0.0, 0.95, 0)

    found = np.array([bound() for _ in range(100)])
    assert np.mean(found > epsilon) <= 0.05
    assert np.median(found) > 0.4


def test_scores_without_a_difference_prove_nothing_and_separate_ones_much():
    rng = np.random.default_rng(4)
    same = epsilon_at_least(rng.random(300), rng.random(300), 1e-5, 0.95, 0)
    apart = epsilon_at_least(1 + rng.random(300), rng.random(300), 1e-5, 0.95, 0)
    assert same < 0.5
    assert apart > 3.0
