"""Integer noise shares: never priced below a direct computation, sized for the honest few."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants.analysis import rdp as opacus_rdp
from scipy.stats import kstest

from securefl.errors import ConfigError
from securefl.privacy.accounting.accountant import epsilon_of
from securefl.privacy.accounting.calibration import Budget, noise_multiplier
from securefl.privacy.accounting.discrete_gaussian_bound import (
    least_share_variance,
    log_factor,
    rounding_variance,
)
from securefl.privacy.accounting.events import SampledGaussian, SampledSkellam
from securefl.privacy.accounting.rdp import renyi_epsilon
from securefl.privacy.accounting.sensitivity import Sensitivity, rounded_sum, rounding_step
from securefl.privacy.accounting.skellam_rdp import skellam_divergences, skellam_epsilon
from securefl.privacy.accounting.subsampled_rdp import ORDERS, sampled_divergences
from securefl.privacy.noise.csprng import AesCtrRng
from securefl.privacy.noise.shares import honest_shares, plan_noise
from securefl_protocols.noise.words import UniformWords
from support.integer_direct import (
    direct_divergence,
    direct_epsilon,
    log_masses,
    neighbours,
)

VARIANCES = (2, 9, 60, 400, 10_000)
RATIOS = (0.1, 0.4, 1.0)
RATES = (0.01, 0.1, 0.5, 1.0)
GRID = list(itertools.product(("skellam", "discrete-gaussian"), VARIANCES, RATIOS, RATES))
FEW_ORDERS = (2, 3, 5, 8, 16, 32)


def bound(law, variance, shift):
    if law == "skellam":
        return skellam_divergences(variance, Sensitivity(float(shift), 1))
    return np.array(ORDERS) * shift**2 / (2 * variance)


def shift_of(variance, ratio):
    return max(1, round(ratio * math.sqrt(variance)))


def test_no_divergence_is_below_the_direct_computation():
    """Both directions, sampled and not, 120 settings by 6 orders."""
    assert len(GRID) >= 100
    for law, variance, ratio, rate in GRID:
        shift = shift_of(variance, ratio)
        one, two = neighbours(log_masses(law, variance), shift, rate)
        ours = sampled_divergences(bound(law, variance, shift), rate)
        for order in FEW_ORDERS:
            if order * shift > 20 * math.sqrt(variance):
                continue
            direct = direct_divergence(order, one, two)
            assert ours[order - 2] >= direct * (1 - 1e-9), (law, variance, shift, rate, order)


def test_no_epsilon_is_below_the_direct_composition():
    """Against the composed privacy loss, which no Renyi divergence went into."""
    checked = 0
    for law, variance, ratio, rate in GRID:
        steps = 40 if rate < 1 else 4
        shift = shift_of(variance, ratio)
        one, two = neighbours(log_masses(law, variance), shift, rate)
        divergences = steps * sampled_divergences(bound(law, variance, shift), rate)
        ours = renyi_epsilon(divergences.tolist(), 1e-5, ORDERS)
        assert ours >= direct_epsilon(one, two, steps, 1e-5), (law, variance, shift, rate)
        checked += 1
    assert checked >= 100


def test_the_direct_computation_is_not_far_below():
    """The check above could fail: what it compares with is close to what is claimed."""
    one, two = neighbours(log_masses("skellam", 400.0), 20, 0.1)
    event = SampledSkellam(400, Sensitivity(20.0, 1), 0.1, 40)
    direct = direct_epsilon(one, two, 40, 1e-5)
    assert direct < skellam_epsilon([event], 1e-5) < 1.2 * direct
    # A price for noise of 1.2 times the deviation is found out.
    cheaper = SampledSkellam(576, Sensitivity(20.0, 1), 0.1, 40)
    assert skellam_epsilon([cheaper], 1e-5) < direct


@pytest.mark.parametrize("shares", [2, 4])
@pytest.mark.parametrize("rate", [0.1, 1.0])
def test_sums_of_discrete_gaussian_shares_cost_no_more_than_their_shadow(shares, rate):
    budget, steps = Budget(2.0, 1e-5), 10
    plan = plan_noise(budget, Sensitivity(4.0, 1), honest=shares, sampling_rate=rate, steps=steps)
    masses = log_masses("discrete-gaussian", shares * plan.share_variance, shares)
    spent = direct_epsilon(*neighbours(masses, 4, rate), steps, 1e-5)
    assert spent <= epsilon_of([plan.event], 1e-5, "pld") <= budget.epsilon
    assert spent > 0.5 * budget.epsilon


@pytest.mark.parametrize("share_variance", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("shares", [1, 2, 4])
def test_the_factor_between_shares_and_shadow_is_never_exceeded(share_variance, shares):
    """By adding the rounded Gaussian up numerically, over its continuous part."""
    total, rounding = shares * share_variance, 0.6
    step = 0.01
    centres = np.arange(-60, 60, step)
    z = np.arange(-8, 9)[:, None]
    kernel = np.exp(-((z - centres) ** 2) / (2 * rounding))
    lattice = np.arange(-90, 91)[:, None]
    kernel /= np.exp(-((lattice - centres) ** 2) / (2 * rounding)).sum(axis=0)
    spread = total - rounding
    density = np.exp(-(centres**2) / (2 * spread)) / math.sqrt(2 * math.pi * spread)
    shadow = (kernel * density).sum(axis=1) * step
    masses = log_masses("discrete-gaussian", total, shares)
    middle = len(masses) // 2
    gap = np.abs(masses[middle - 8 : middle + 9] - np.log(shadow)).max()
    assert gap <= log_factor(share_variance, shares, rounding) + 1e-12


def test_the_factor_vanishes_as_the_variances_grow():
    assert log_factor(20.0, 5, 4.0) < 1e-30
    assert log_factor(1.0, 1, 1.0) == math.inf
    assert log_factor(4.0, 500, 4.0) >= log_factor(4.0, 400, 4.0)


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-30, 1.0), st.integers(1, 5000))
def test_what_is_allowed_is_kept(allowed, shares):
    share, rounding = least_share_variance(allowed, shares), rounding_variance(allowed)
    assert log_factor(share, shares, rounding) <= 2 * allowed


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.floats(1e-3, 1.0), min_size=6, max_size=6),
    st.floats(0.01, 0.99),
    st.floats(1.001, 40.0),
)
def test_symmetric_noise_is_worst_in_one_direction(half, rate, order):
    """Whatever the symmetric law and the order, not only integers: the lemma of the page."""
    masses = np.array([*half, *half[-2::-1]])
    law = np.log(np.r_[1e-9, masses / masses.sum(), 1e-9])
    one, two = neighbours(law, 2, rate)
    forward = np.logaddexp.reduce(order * one + (1 - order) * two)
    backward = np.logaddexp.reduce(order * two + (1 - order) * one)
    assert backward <= forward + 1e-9


@pytest.mark.parametrize("rate", [0.01, 0.3, 1.0])
def test_sampled_divergences_are_opacus_own_for_a_gaussian(rate):
    ours = sampled_divergences(np.array(ORDERS) / (2 * 1.3**2), rate)
    theirs = opacus_rdp.compute_rdp(
        q=rate, noise_multiplier=1.3, steps=1, orders=[float(order) for order in ORDERS]
    )
    assert np.allclose(ours[:60], theirs[:60], rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "rate"), [(np.ones(3), 0.5), (np.ones(len(ORDERS)), 0.0), (np.ones(255), 1.1)]
)
def test_divergences_of_another_form_are_refused(values, rate):
    with pytest.raises(ValueError, match=r"orders|rate"):
        sampled_divergences(values, rate)


def test_a_known_value_of_the_skellam_bound():
    # a = 2, D1 = D2 = 1, v = 10: 0.1 + min((3 + 6) / 400, 3 / 20).
    assert skellam_divergences(10, Sensitivity(1.0, 1))[0] == pytest.approx(0.1 + 9 / 400)
    # a = 2, D2 = 3, d = 4, so that D1 = 6; v = 1: 9 + min((27 + 36) / 4, 9).
    assert skellam_divergences(1, Sensitivity(3.0, 4))[0] == pytest.approx(18)


@pytest.mark.parametrize("law", ["skellam", "discrete-gaussian"])
@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0, 4.0])
def test_distributed_noise_is_within_two_per_cent_of_a_curators(law, epsilon):
    """The honest shares' deviation on the mean, at d = 200 000 and the same accountant."""
    clip, dimension, budget = 1.0, 200_000, Budget(epsilon, 1e-5)
    step = rounding_step(clip, dimension)
    plan = plan_noise(
        budget,
        rounded_sum(clip, step, dimension),
        honest=3,
        sampling_rate=0.1,
        steps=100,
        law=law,
    )
    same = "rdp" if law == "skellam" else "pld"
    central = clip * noise_multiplier(budget, sampling_rate=0.1, steps=100, accountant=same)
    assert plan.deviation * step / central < 1.02


def test_a_plan_never_exceeds_the_budget():
    budget = Budget(1.0, 1e-6)
    spent = [SampledGaussian(3.0, 0.1, 20)]
    for law, price in (("skellam", skellam_epsilon), ("discrete-gaussian", epsilon_of)):
        plan = plan_noise(
            budget,
            Sensitivity(300.0, 1000),
            honest=4,
            sampling_rate=0.1,
            steps=30,
            law=law,
            spent=spent,
        )
        assert 0.97 < price([*spent, plan.event], 1e-6) < 1.0


def test_fewer_honest_members_add_larger_shares():
    plans = [
        plan_noise(Budget(1.0, 1e-5), Sensitivity(500.0, 100), honest=m, sampling_rate=1.0, steps=1)
        for m in (2, 4)
    ]
    assert plans[0].share_variance == pytest.approx(2 * plans[1].share_variance, rel=1e-4)
    assert plans[0].deviation == pytest.approx(plans[1].deviation, rel=1e-4)
    assert plans[0].summed_deviation(5) == pytest.approx(plans[0].deviation * math.sqrt(5 / 2))


def test_honest_shares():
    assert honest_shares(5, 4, 2) == 2
    assert honest_shares(100, 67, 33) == 34
    for members, threshold, colluding in ((5, 4, 4), (5, 6, 0), (5, 4, -1)):
        with pytest.raises(ConfigError):
            honest_shares(members, threshold, colluding)


@pytest.mark.parametrize("law", ["skellam", "discrete-gaussian"])
def test_colluders_who_reveal_their_shares_leave_the_noise_that_was_priced(law):
    """Five survive, two of them tell the coordinator their shares: three shares are left."""
    plan = plan_noise(
        Budget(1.0, 1e-5),
        Sensitivity(100.0, 50_000),
        honest=3,
        sampling_rate=1.0,
        steps=1,
        law=law,
    )
    sampler, shares = plan.sampler(), np.empty((5, 50_000), dtype=np.int64)
    for number, share in enumerate(shares):
        sampler.fill(UniformWords(bytes([number]) * 32), share)
    left = shares.sum(axis=0) - shares[:2].sum(axis=0)
    assert left.std() == pytest.approx(plan.deviation, rel=0.01)
    assert kstest(left / plan.deviation, "norm").pvalue > 1e-3


def test_what_cannot_be_planned_is_refused():
    budget, sensitivity = Budget(1.0, 1e-5), Sensitivity(10.0, 10)
    good = {"honest": 2, "sampling_rate": 1.0, "steps": 1}
    with pytest.raises(ConfigError):
        plan_noise(budget, sensitivity, **{**good, "honest": 0})
    with pytest.raises(ConfigError, match="rdp only"):
        plan_noise(budget, sensitivity, **good, law="skellam", accountant="prv")
    for law in ("skellam", "discrete-gaussian"):
        with pytest.raises(ConfigError, match="coarser"):
            plan_noise(budget, Sensitivity(1e8, 10), **good, law=law)
    with pytest.raises(ConfigError, match="exact to"):
        plan_noise(Budget(90.0, 1e-6), sensitivity, **good)


def test_sensitivity_of_rounded_sums():
    assert rounded_sum(1.0, 0.01, 100).l2 == pytest.approx(110)
    assert rounded_sum(1.0, 0.01, 100, error=0.005).l2 == pytest.approx(111)
    assert rounded_sum(1.0, rounding_step(1.0, 400, 0.01), 400).l2 == pytest.approx(2020)
    assert Sensitivity(3.0, 4).l1 == 6
    assert Sensitivity(3.0, 400).l1 == 9


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_two_neighbours_round_further_apart(data):
    dimension = data.draw(st.integers(1, 12))
    step = data.draw(st.sampled_from([0.01, 0.1, 0.7, 3.0]))
    values = st.lists(st.floats(-5, 5), min_size=dimension, max_size=dimension)
    rest, unit = np.array(data.draw(values)), np.array(data.draw(values))
    clipped = unit * min(1.0, 1 / max(np.linalg.norm(unit), 1e-12))
    apart = np.rint((rest + clipped) / step) - np.rint(rest / step)
    limit = rounded_sum(1.0, step, dimension)
    assert np.linalg.norm(apart) <= limit.l2 * (1 + 1e-12)
    assert np.abs(apart).sum() <= limit.l1 * (1 + 1e-12)


def test_the_bound_on_rounding_is_reached():
    """Many coordinates just below one half, which the unit lifts over it."""
    dimension, step = 10_000, 1.0
    rest = np.full(dimension, 0.5 - 1e-9)
    unit = np.full(dimension, 1 / math.sqrt(dimension))
    apart = np.linalg.norm(np.rint(rest + unit) - np.rint(rest))
    assert apart > 0.98 * rounded_sum(1.0, step, dimension).l2


def test_a_members_key_stream_is_a_source_of_noise():
    plan = plan_noise(Budget(1.0, 1e-5), Sensitivity(9.0, 3), honest=2, sampling_rate=1.0, steps=1)
    one, two = np.empty(9000, dtype=np.int64), np.empty(9000, dtype=np.int64)
    plan.sampler().fill(AesCtrRng.insecure_for_tests(bytes(32)), one)
    plan.sampler().fill(UniformWords(bytes(32)), two)
    assert np.array_equal(one, two)


def test_variances_are_exact_numbers():
    plan = plan_noise(Budget(1.0, 1e-5), Sensitivity(1.0, 3), honest=2, sampling_rate=1.0, steps=1)
    assert plan.sampler().variance == Fraction(plan.share_variance)


@pytest.mark.parametrize("bad", [(0, 0.1, 1), (4, 0.0, 1), (4, 1.1, 1), (4, 0.1, -1)])
def test_events_that_make_no_sense_are_refused(bad):
    variance, rate, steps = bad
    with pytest.raises(ValueError, match="out of range"):
        SampledSkellam(variance, Sensitivity(1.0, 1), rate, steps)
