"""A customer of several retailers under one noise: never less than what she really pays."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

from securefl.privacy.accounting.accountant import epsilon_of
from securefl.privacy.accounting.events import SampledGaussian, SampledSkellam
from securefl.privacy.accounting.group_privacy import scale_sensitivity, shared_epsilon
from securefl.privacy.accounting.sensitivity import Sensitivity

DELTA = 1e-4


def weights(retailers, rate):
    """How often she is drawn at so many of her retailers."""
    return stats.binom.pmf(np.arange(retailers + 1), retailers, rate)


def least_epsilon(excess):
    """The epsilon at which the mass beyond it is delta; 0 where it is less from the start."""
    return 0.0 if excess(0.0) <= DELTA else brentq(lambda e: excess(e) - DELTA, 0.0, 60.0)


def exact(one, other, measure):
    """Epsilon of two densities on a grid, in both directions (Balle and Wang 2018, theorem 5)."""
    return max(
        least_epsilon(lambda e, p=p, q=q: float(np.maximum(p - math.exp(e) * q, 0).sum() * measure))
        for p, q in ((one, other), (other, one))
    )


@pytest.mark.parametrize("retailers", [2, 3, 5])
@pytest.mark.parametrize("rate", [0.05, 0.4, 0.95])
@pytest.mark.parametrize("sigma", [1.5, 4.0])
def test_no_price_is_below_the_direct_one_gaussian(retailers, rate, sigma):
    grid = np.linspace(-12 * sigma, 12 * sigma + retailers, 40_001)
    without = stats.norm.pdf(grid, 0, sigma)
    with_her = sum(
        w * stats.norm.pdf(grid, k, sigma) for k, w in enumerate(weights(retailers, rate))
    )
    direct = exact(with_her, without, grid[1] - grid[0])
    priced = shared_epsilon([(SampledGaussian(sigma, rate, 1), retailers)], DELTA)
    assert direct <= priced


@pytest.mark.parametrize("retailers", [1, 2, 3])
@pytest.mark.parametrize("rate", [0.1, 0.6])
@pytest.mark.parametrize("variance", [200, 5000])
def test_no_price_is_below_the_direct_one_skellam(retailers, rate, variance):
    moved, reach = 5, 14 * math.isqrt(variance)
    grid = np.arange(-reach, reach + 1)

    def around(centre):
        return stats.skellam.pmf(grid - centre, variance / 2, variance / 2)

    with_her = sum(w * around(moved * k) for k, w in enumerate(weights(retailers, rate)))
    direct = exact(with_her, around(0), 1.0)
    event = SampledSkellam(variance, Sensitivity(float(moved), 1), rate, 1)
    assert direct <= shared_epsilon([(event, retailers)], DELTA)


@pytest.mark.parametrize("retailers", [1, 2, 5])
def test_without_sampling_it_is_the_noise_multiplier_over_their_number(retailers):
    event = SampledGaussian(6.0, 1.0, 10)
    expected = epsilon_of([SampledGaussian(6.0 / retailers, 1.0, 10)], DELTA)
    assert shared_epsilon([(event, retailers)], DELTA) == expected
    assert scale_sensitivity(event, 2).noise_multiplier == 3.0


@pytest.mark.parametrize("rate", [0.1, 1.0])
def test_shared_noise_costs_more_than_separate_noise_does(rate):
    event = SampledGaussian(4.0, rate, 30)
    separate = epsilon_of([event] * 3, DELTA)
    assert shared_epsilon([(event, 3)], DELTA) > 1.05 * separate


def test_what_is_shared_and_what_is_not_compose():
    shared, own = SampledGaussian(4.0, 1.0, 10), SampledGaussian(3.0, 0.2, 50)
    together = shared_epsilon([(shared, 2), (own, 1)], DELTA)
    assert together == epsilon_of([scale_sensitivity(shared, 2), own], DELTA)
    assert shared_epsilon([], DELTA) == 0
    assert shared_epsilon([(SampledGaussian(0.0, 0.5, 1), 2)], DELTA) == math.inf
