"""Prices without sampling against theorem, paper and high precision; accountants in their order."""

import math

import mpmath
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from securefl.errors import ConfigError
from securefl.privacy.accounting import accountant as accountants
from securefl.privacy.accounting.accountant import UnsupportedEventError, epsilon_of
from securefl.privacy.accounting.analytic_gaussian import gaussian_epsilon
from securefl.privacy.accounting.calibration import Budget, noise_multiplier
from securefl.privacy.accounting.events import NonPrivateDpEvent, SampledGaussian
from securefl.privacy.accounting.rdp import (
    _LARGE_ORDERS,
    UndefinedEpsilonError,
    _at_large_order,
    checked_bound,
    renyi_epsilon,
)
from securefl.privacy.accounting.subsampled_rdp import sampled_divergences

DELTA = 1e-5
SIGMAS = st.floats(0.02, 1e5)
DELTAS = st.floats(-12, -1).map(lambda exponent: 10**exponent)
few = limits(max_examples=60, deadline=None)
sampled = limits(max_examples=8, deadline=None)


def precise_delta(epsilon, sigma, steps):
    """Balle and Wang 2018, theorem 8, with 60 digits."""
    with mpmath.workdps(60):
        mu = mpmath.sqrt(steps) / mpmath.mpf(sigma)
        e = mpmath.mpf(epsilon)
        return mpmath.ncdf(mu / 2 - e / mu) - mpmath.exp(e) * mpmath.ncdf(-mu / 2 - e / mu)


@few
@given(SIGMAS, st.integers(1, 10**6), DELTAS)
def test_the_closed_form_is_never_too_small(sigma, steps, delta):
    """And too large by less than one in a hundred million."""
    epsilon = gaussian_epsilon([(sigma, steps)], delta)
    assert precise_delta(epsilon, sigma, steps) <= mpmath.mpf(delta)
    if epsilon > 0:
        assert precise_delta(epsilon * (1 - 1e-8), sigma, steps) > mpmath.mpf(delta)


@pytest.mark.parametrize(
    ("epsilon", "sigma", "by_renyi"),
    [(1, 11.80, 12.80), (2, 6.31, 6.80), (4, 3.42, 3.66), (8, 1.90, 2.02)],
)
def test_ten_full_batches_take_the_exact_noise(epsilon, sigma, by_renyi):
    budget = Budget(epsilon, DELTA)
    found = noise_multiplier(budget, sampling_rate=1.0, steps=10)
    assert found == pytest.approx(sigma, abs=0.006)
    assert precise_delta(epsilon, found, 10) <= DELTA
    renyi = noise_multiplier(budget, sampling_rate=1.0, steps=10, accountant="rdp")
    assert renyi == pytest.approx(by_renyi, abs=0.006)


def test_the_closed_form_by_hand():
    """At delta(0) = 2 Phi(mu / 2) - 1 epsilon is 0; just below, it is not."""
    whole = 2 * 0.6914624612740131 - 1  # Phi(1/2), from a table
    assert gaussian_epsilon([(1.0, 1)], whole * (1 + 1e-9)) == 0
    assert 0 < gaussian_epsilon([(1.0, 1)], whole * (1 - 1e-9)) < 1e-7


@few
@given(SIGMAS, SIGMAS, st.integers(1, 50), DELTAS)
def test_full_batches_together_are_one_gaussian(first, second, steps, delta):
    """Whatever their order, and whichever of them were joined in one event."""
    joint = 1 / math.sqrt(steps / first**2 + 1 / second**2)
    events = [SampledGaussian(first, 1.0, steps), SampledGaussian(second, 1.0, 1)]
    whole = gaussian_epsilon([(joint, 1)], delta)
    for order in (events, events[::-1]):
        assert epsilon_of(order, delta) == pytest.approx(whole, rel=1e-9, abs=1e-15)


@few
@given(SIGMAS, st.integers(1, 1000), DELTAS)
def test_more_noise_and_fewer_steps_cost_less(sigma, steps, delta):
    epsilon = gaussian_epsilon([(sigma, steps)], delta)
    assert gaussian_epsilon([(1.01 * sigma, steps)], delta) <= epsilon
    assert gaussian_epsilon([(sigma, steps + 1)], delta) >= epsilon


@sampled
@given(st.floats(0.6, 40), st.floats(0.01, 0.95), st.integers(1, 200))
def test_accountants_are_in_the_order_of_their_proofs(sigma, rate, steps):
    """Exact without sampling <= PLD without it, sampled PLD <= RDP, and less of all costs less."""
    full = SampledGaussian(sigma, 1.0, steps)
    distribution = accountants._distribution_epsilon(((sigma, 1.0, steps),), DELTA)
    assert epsilon_of([full], DELTA) <= distribution * (1 + 1e-12)
    assert distribution <= epsilon_of([full], DELTA, "rdp") * (1 + 1e-9)
    event = SampledGaussian(sigma, rate, steps)
    epsilon = epsilon_of([event], DELTA)
    assert epsilon <= epsilon_of([event], DELTA, "rdp")
    for less in (
        SampledGaussian(1.1 * sigma, rate, steps),
        SampledGaussian(sigma, 0.9 * rate, steps),
    ):
        assert epsilon_of([less], DELTA) <= epsilon
    assert epsilon <= epsilon_of([SampledGaussian(sigma, rate, steps + 20)], DELTA)
    assert epsilon <= epsilon_of([full], DELTA)


@pytest.mark.parametrize("sigma", [0.8, 3.0, 20.0])
@pytest.mark.parametrize("rate", [0.02, 0.5])
def test_one_sampled_step_is_never_understated(sigma, rate):
    """Its loss is known: the delta of either direction, integrated with 40 digits."""
    epsilon = epsilon_of([SampledGaussian(sigma, rate, 1)], DELTA)
    with mpmath.workdps(40):
        assert max(_sampled_deltas(epsilon, sigma, rate)) <= DELTA
        assert max(_sampled_deltas(0.99 * epsilon, sigma, rate)) > DELTA or epsilon == 0


def _sampled_deltas(epsilon, sigma, rate):
    """Return E_P[(1 - e^(epsilon - loss))+] both ways, by where the loss crosses epsilon."""
    ncdf, log, exp = mpmath.ncdf, mpmath.log, mpmath.exp
    s, q, e = mpmath.mpf(sigma), mpmath.mpf(rate), mpmath.mpf(epsilon)

    def crossing(ratio):  # where (1 - q) + q exp((2 x - 1) / 2 s^2) is the ratio
        return s * s * log((ratio - (1 - q)) / q) + mpmath.mpf(1) / 2

    x = crossing(exp(e))
    above = q * ncdf((1 - x) / s) + (1 - q - exp(e)) * ncdf(-x / s)
    if exp(-e) <= 1 - q:
        return above, mpmath.mpf(0)
    y = crossing(exp(-e))
    below = ncdf(y / s) - exp(e) * (q * ncdf((y - 1) / s) + (1 - q) * ncdf(y / s))
    return above, below


@pytest.mark.parametrize("accountant", ["pld", "rdp"])
@pytest.mark.parametrize(
    ("rate", "steps"), [(1.0, 10), pytest.param(0.5, 4, marks=pytest.mark.slow)]
)
def test_a_tiny_budget_has_a_noise(accountant, rate, steps):
    """Epsilon 0.005 was called impossible, because the orders ended."""
    budget = Budget(0.005, DELTA)
    sigma = noise_multiplier(budget, sampling_rate=rate, steps=steps, accountant=accountant)
    assert epsilon_of([SampledGaussian(sigma, rate, steps)], DELTA, accountant) <= 0.005
    assert sigma < 2000


def test_a_budget_beyond_all_noise_says_so():
    with pytest.raises(ConfigError, match="no noise multiplier up to 1,000,000 enough"):
        noise_multiplier(Budget(1e-9, 1e-15), sampling_rate=1.0, steps=10**6)


def test_a_small_delta_is_priced_by_renyi():
    """Where the transforms' rounding would count, the bound that needs none takes over."""
    event = SampledGaussian(1.0, 0.05, 200)
    assert epsilon_of([event], 1e-12) == epsilon_of([event], 1e-12, "rdp")


@pytest.mark.parametrize("sigma", [0.5, 3.0, 200.0])
@pytest.mark.parametrize("rate", [0.001, 0.5, 1.0])
def test_large_orders_continue_the_small_ones(sigma, rate):
    """The same sum at an order that both ways know, and never falling beyond."""
    orders = sampled_divergences_at(256, sigma, rate)
    assert _at_large_order(256, sigma, rate) == pytest.approx(orders, rel=1e-9)
    values = [_at_large_order(order, sigma, rate) for order in _LARGE_ORDERS]
    assert values == sorted(values)


def sampled_divergences_at(order, sigma, rate):
    import numpy as np

    whole = np.arange(2.0, 257) / (2 * sigma**2)
    return float(sampled_divergences(whole, rate)[order - 2])


def test_not_a_number_is_never_a_price(monkeypatch):
    """`max(0.0, nan)` is 0, and so is what a budget would be charged."""
    assert max(0.0, math.nan) == 0
    with pytest.raises(UndefinedEpsilonError, match="not a number"):
        checked_bound(math.nan)
    assert checked_bound(-1e-9) == 0
    assert checked_bound(math.inf) == math.inf
    event = SampledGaussian(2.0, 0.5, 3)
    for kind in set(accountants._ACCOUNTANTS.values()):
        monkeypatch.setattr(kind[0], "_epsilon", lambda *_: math.nan)
    for name in ("pld", "prv", "rdp"):
        with pytest.raises(UndefinedEpsilonError):
            epsilon_of([event], DELTA, name)
    # Opacus makes infinity of divergences that are not numbers; what it returns is checked too.
    assert renyi_epsilon([math.nan], DELTA, [2.0]) == math.inf


@pytest.mark.parametrize("accountant", ["pld", "prv", "rdp"])
def test_no_noise_and_hardly_any_is_infinite(accountant):
    assert epsilon_of([NonPrivateDpEvent()], DELTA, accountant) == math.inf
    assert epsilon_of([SampledGaussian(1e-200, 1.0, 1)], DELTA, accountant) == math.inf
    with pytest.raises(UnsupportedEventError):
        epsilon_of(["noise"], DELTA, accountant)
