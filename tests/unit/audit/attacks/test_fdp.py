"""The trade-off curve against the Gaussian's own formula, and the bound that follows from it."""

import math

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from securefl.audit.attacks import one_run
from securefl.audit.attacks.fdp import lower_bound, refuted
from securefl.audit.attacks.one_run import Guesses, guess
from securefl.audit.attacks.trade_off import ComposedLoss
from securefl.privacy.accounting.accountant import epsilon_of
from securefl.privacy.accounting.events import SampledGaussian

EVENT = SampledGaussian(5.0, 1.0, 20)
MU = math.sqrt(20) / 5.0
DELTA = 1e-5


def gaussian_delta(epsilon):
    """Dong, Roth and Su 2022, corollary 1."""
    return ndtr(-epsilon / MU + MU / 2) - math.exp(epsilon) * ndtr(-epsilon / MU - MU / 2)


def test_the_curve_is_below_the_gaussian_curve_and_close_to_it():
    curve = ComposedLoss.of(EVENT).curve
    for probability in (0.001, 0.01, 0.05, 0.3, 0.5, 0.9, 0.999):
        exact = ndtr(ndtri(probability) - MU)
        assert curve.least(probability) <= exact
        assert curve.least(probability) == pytest.approx(exact, rel=0.05, abs=1e-5)
    assert curve.least(0.0) == 0.0


def test_epsilon_is_a_lower_bound_and_close():
    epsilon = ComposedLoss.of(EVENT).epsilon_at_least(DELTA)
    assert gaussian_delta(epsilon) > DELTA > gaussian_delta(epsilon + 0.03)


@pytest.mark.parametrize(("sigma", "rate", "steps"), [(1.0, 0.01, 1000), (2.0, 0.5, 10)])
def test_with_sampling_epsilon_is_just_below_the_accountant(sigma, rate, steps):
    event = SampledGaussian(sigma, rate, steps)
    epsilon = ComposedLoss.of(event).epsilon_at_least(DELTA)
    assert epsilon <= epsilon_of([event], DELTA, "prv") < epsilon + 0.05


def test_one_canary_is_guessed_as_well_as_the_curve_allows_and_no_better():
    curve = ComposedLoss.of(EVENT).curve
    best = float(ndtr(MU / 2))
    single = Guesses(1, 1, 1)
    assert not refuted(single, curve, best - 0.002)
    assert refuted(single, curve, best + 0.01)


def draws(scale, count, canaries=2000, seed=0):
    """Guesses of canaries whose coordinates have so much less noise than stated."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        included = rng.random(canaries) < 0.5
        scores = rng.standard_normal(canaries) + scale * MU * included
        yield guess(scores, included, canaries // 10)


def test_the_stated_noise_is_not_refuted():
    curve = ComposedLoss.of(EVENT).curve
    assert not any(refuted(guesses, curve, 0.05) for guesses in draws(1.0, 200))


def test_half_the_stated_noise_is_refuted_where_one_epsilon_does_not_do_it():
    curve, claim = ComposedLoss.of(EVENT).curve, epsilon_of([EVENT], DELTA)
    found = list(draws(2.0, 40))
    assert np.mean([refuted(guesses, curve, 0.05) for guesses in found]) > 0.9
    assert np.mean([one_run.lower_bound(g, DELTA, 0.95) > claim for g in found]) < 0.5


def test_the_bound_brackets_what_is_refuted():
    guesses = next(draws(2.0, 1, canaries=5000))
    bound = lower_bound(guesses, EVENT, DELTA, 0.95)
    assert 0.5 < bound.scale < 1.0
    assert epsilon_of([EVENT], DELTA) < bound.epsilon
    assert lower_bound(Guesses(1000, 100, 50), EVENT, DELTA, 0.95).epsilon == 0.0
    assert lower_bound(Guesses(5000, 500, 500), EVENT, DELTA, 0.95).epsilon > 5.0
