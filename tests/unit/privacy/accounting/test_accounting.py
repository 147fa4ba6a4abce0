"""Accounting against known values, independent formulas, and the ways in which it goes wrong."""

import json
import math
import warnings

import dp_accounting as dp
import pytest
from dp_accounting import pld
from dp_accounting.dp_event import MixtureOfGaussiansDpEvent
from opacus.accountants import GaussianAccountant, RDPAccountant
from opacus.accountants.analysis import rdp as opacus_rdp
from opacus.accountants.analysis.rdp import compute_rdp
from scipy import integrate, stats

from securefl.errors import ConfigError
from securefl.privacy.accounting.accountant import PrivacyAccountant, epsilon_of
from securefl.privacy.accounting.calibration import Budget, noise_multiplier
from securefl.privacy.accounting.events import SampledGaussian
from securefl.privacy.accounting.gaussian_rdp import sampled_gaussian_divergences
from securefl.privacy.accounting.group_privacy import ORDERS as GROUP_ORDERS
from securefl.privacy.accounting.group_privacy import _divergences, customer_epsilon
from securefl.privacy.accounting.rdp import ORDERS, renyi_epsilon, sum_renyi
from support.loss_distributions import loss_distribution_epsilon

LONG = SampledGaussian(noise_multiplier=1.0, sampling_rate=0.01, steps=10_000)
ROUND = SampledGaussian(noise_multiplier=1.0, sampling_rate=0.02, steps=200)


def test_known_values():
    assert epsilon_of([LONG], 1e-5, "rdp") == pytest.approx(6.713, abs=5e-4)
    assert epsilon_of([LONG], 1e-5, "prv") == pytest.approx(6.198, abs=5e-4)


def test_the_loss_distribution_agrees():
    assert loss_distribution_epsilon([LONG], 1e-5) == pytest.approx(6.188, abs=5e-4)


def test_gaussian_dp_is_refused_because_it_underreports():
    with pytest.warns(UserWarning, match="underestimate"):
        baseline = GaussianAccountant()
    baseline.history = [(0.7, 0.01, 100)]
    true = epsilon_of([SampledGaussian(0.7, 0.01, 100)], 1e-5, "prv")
    assert baseline.get_epsilon(delta=1e-5) < 0.5 * true
    for refused in (
        lambda: epsilon_of([LONG], 1e-5, "gdp"),
        lambda: PrivacyAccountant("gdp"),
        lambda: PrivacyAccountant.from_state({"accountant": "gdp", "events": []}),
    ):
        with pytest.raises(ConfigError, match="under-reports"):
            refused()
    with pytest.raises(ConfigError, match="no accountant"):
        epsilon_of([LONG], 1e-5, "zcdp")


def test_a_fresh_accountant_a_round_hides_what_was_spent():
    accountant = PrivacyAccountant()
    baseline = []
    for _ in range(5):
        accountant.charge(ROUND)
        fresh = PrivacyAccountant()
        fresh.charge(ROUND)
        baseline.append(fresh.epsilon(1e-5))
    assert max(baseline) < 0.6 * accountant.epsilon(1e-5)
    assert accountant.steps == 1000
    whole = SampledGaussian(1.0, 0.02, 1000)
    assert accountant.epsilon(1e-5) == pytest.approx(epsilon_of([whole], 1e-5))


def test_the_state_survives_a_restart():
    accountant = PrivacyAccountant()
    accountant.charge(ROUND)
    accountant.charge(SampledGaussian(2.0, 0.5, 3))
    revived = PrivacyAccountant.from_state(json.loads(json.dumps(accountant.state())))
    assert revived.events == accountant.events
    assert revived.epsilon(1e-5) == accountant.epsilon(1e-5)
    assert revived.epsilon(1e-5, ROUND) > revived.epsilon(1e-5)
    assert PrivacyAccountant.from_state(PrivacyAccountant("prv").state()).name == "prv"


def test_other_batches_are_not_priced_as_poisson():
    for sampler in ("shuffled", "fixed size"):
        with pytest.raises(ValueError, match="amplified"):
            SampledGaussian(1.0, 0.01, 10, sampler=sampler)
    assert SampledGaussian(1.0, 1.0, 10, sampler="full").sampling_rate == 1.0


@pytest.mark.parametrize(
    "values", [(-1.0, 0.1, 1), (math.nan, 0.1, 1), (1.0, 0.0, 1), (1.0, 1.5, 1), (1.0, 0.1, -1)]
)
def test_senseless_events_are_refused(values):
    with pytest.raises(ValueError, match=r"is|steps"):
        SampledGaussian(*values)


def test_the_edges():
    assert epsilon_of([], 1e-5) == 0
    assert epsilon_of([SampledGaussian(1.0, 0.1, 0)], 1e-5) == 0
    assert epsilon_of([SampledGaussian(0.0, 0.1, 1)], 1e-5) == math.inf
    assert epsilon_of([SampledGaussian(1e3, 1e-4, 1)], 1e-5) == pytest.approx(0, abs=0.05)
    with pytest.raises(ValueError, match="delta"):
        epsilon_of([ROUND], 0.0)


def test_a_single_full_batch_is_above_the_exact_gaussian_mechanism():
    """Balle and Wang 2018, theorem 8, is exact for q = 1."""
    sigma, delta = 2.0, 1e-5
    event = SampledGaussian(sigma, 1.0, 1)
    for name in ("pld", "prv", "rdp"):
        epsilon = epsilon_of([event], delta, name)
        exact = stats.norm.cdf(0.5 / sigma - epsilon * sigma) - math.exp(epsilon) * stats.norm.cdf(
            -0.5 / sigma - epsilon * sigma
        )
        assert exact <= delta


def test_a_budget_that_is_used_up_is_refused():
    spent = [SampledGaussian(0.5, 0.5, 100)]
    with pytest.raises(ConfigError, match="cannot be kept"):
        noise_multiplier(Budget(1.0, 1e-5), sampling_rate=0.1, steps=10, spent=spent)
    for values in ((0.0, 1e-5), (1.0, 0.0), (1.0, 1.0)):
        with pytest.raises(ConfigError, match="invalid budget"):
            Budget(*values)


class TestCustomers:
    def test_one_record_is_the_record_level_bound(self):
        one = customer_epsilon([ROUND], 1e-5, 1)
        history = [(1.0, 0.02, 200)]
        rdp = compute_rdp(q=0.02, noise_multiplier=1.0, steps=200, orders=list(GROUP_ORDERS))
        assert one == pytest.approx(renyi_epsilon(rdp.tolist(), 0.99e-5, GROUP_ORDERS), rel=1e-6)
        assert len(sum_renyi(history)) == len(ORDERS)

    def test_full_batches_are_the_gaussian_mechanism_of_m_times_the_sensitivity(self):
        grouped = customer_epsilon([SampledGaussian(10.0, 1.0, 5)], 1e-5, 4)
        direct = epsilon_of([SampledGaussian(2.5, 1.0, 5)], 1e-5)
        assert grouped == pytest.approx(direct, rel=0.01)
        assert grouped >= direct

    def test_the_integral_is_the_divergence_by_quadrature(self):
        sigma, rate, records, order = 2.0, 0.1, 3, 5.0
        weights = stats.binom.pmf(range(records + 1), records, rate)

        def integrand(z):
            q = stats.norm.pdf(z, 0, sigma)
            p = sum(w * stats.norm.pdf(z, k, sigma) for k, w in enumerate(weights))
            return p**order * q ** (1 - order)

        value, _ = integrate.quad(integrand, -20, 30, limit=200)
        found = _divergences(sigma, rate, records, 1e-18)[GROUP_ORDERS.index(order)]
        assert found == pytest.approx(math.log(value) / (order - 1), rel=1e-6)

    def test_more_records_cost_more_and_less_than_the_group_bound(self):
        values = [customer_epsilon([ROUND], 1e-5, m) for m in (1, 2, 5, 20)]
        assert values == sorted(values)
        single = epsilon_of([ROUND], 1e-5 / 5 / math.exp(4 * 3))
        assert values[2] < 5 * single

    def test_the_loss_distribution_of_the_same_mixture_is_not_above_it(self):
        sigma, rate, records = 2.0, 0.1, 3
        weights = stats.binom.pmf(range(records + 1), records, rate)
        mixture = MixtureOfGaussiansDpEvent(sigma, list(range(records + 1)), list(weights))
        both_ways = dp.NeighboringRelation.ADD_OR_REMOVE_ONE
        accountant = pld.PLDAccountant(both_ways, value_discretization_interval=0.01)  # rounds up
        accountant.compose(dp.SelfComposedDpEvent(mixture, 20))
        found = customer_epsilon([SampledGaussian(sigma, rate, 20)], 1e-5, records)
        assert 0.7 * found < accountant.get_epsilon(1e-5) <= found

    def test_large_customers_and_edges(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            large = customer_epsilon([SampledGaussian(8.0, 0.0002, 1000)], 1e-5, 1000)
        assert 0 < large < 20
        assert customer_epsilon([SampledGaussian(0.5, 0.5, 100)], 1e-5, 50) == math.inf
        assert customer_epsilon([], 1e-5, 3) == 0
        assert customer_epsilon([SampledGaussian(0.0, 0.5, 1)], 1e-5, 3) == math.inf
        with pytest.raises(ValueError, match="at most 0"):
            customer_epsilon([ROUND], 1e-5, 0)


@pytest.mark.parametrize("sigma", [0.3, 0.8, 1.0, 2.5, 40.0])
@pytest.mark.parametrize("rate", [1e-4, 0.01, 0.3, 0.9, 1.0])
def test_divergences_have_the_bits_of_opacus(sigma, rate):
    """Recorded epsilons and planned noise follow from them, here and at an auditor's."""
    # Beyond 512 the sum is one vector of our own: in a loop, as in Opacus, it takes seconds.
    orders = ORDERS[: ORDERS.index(512.0) + 1]
    theirs = opacus_rdp.compute_rdp(q=rate, noise_multiplier=sigma, steps=1, orders=list(orders))
    ours = sampled_gaussian_divergences(sigma, rate, orders)
    assert ours.tolist() == list(theirs)
    assert sum_renyi([(sigma, rate, 1)])[: len(orders)] == list(theirs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spent, _ = opacus_rdp.get_privacy_spent(orders=list(orders), rdp=list(theirs), delta=1e-6)
    assert renyi_epsilon(ours.tolist(), 1e-6, orders) == max(0.0, spent)


def test_orders_begin_with_those_of_opacus():
    """And go on beyond them."""
    theirs = RDPAccountant.DEFAULT_ALPHAS
    assert ORDERS[: len(theirs)] == tuple(map(float, theirs))
