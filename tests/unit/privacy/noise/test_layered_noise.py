"""Noise in layers: whoever survives, what stays is what was priced, and no layer more."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from securefl.errors import ConfigError
from securefl.privacy.accounting.calibration import Budget
from securefl.privacy.accounting.discrete_gaussian_bound import log_factor
from securefl.privacy.accounting.sensitivity import Sensitivity
from securefl.privacy.noise.shares import plan_noise
from securefl.privacy.noise.xnoise import LEAST_LAYER, LayeredSampler, LayerPlan
from securefl_protocols.noise.layers import NoiseChain, opened
from securefl_protocols.primitives.errors import LocalProtocolError

LAWS = ["skellam", "discrete-gaussian"]


def shares_of(plan, dimension):
    sampler = LayeredSampler(plan)
    chains = [NoiseChain(bytes([member]) * 32, plan.removable) for member in range(plan.members)]
    return sampler, chains, [sampler.share(chain, dimension) for chain in chains]


def taken_back(plan, sampler, chains, dropped, dimension):
    """What everybody subtracts who is shown what these members reveal."""
    links = [(chain.reveal(dropped), chain.anchor) for chain in chains]
    keys = [opened(link, dropped + 1, plan.removable, anchor) for link, anchor in links if link]
    return sampler.excess(keys, dimension)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 60), st.data())
def test_what_stays_is_never_less_than_what_was_priced(members, data):
    threshold = data.draw(st.integers(1, members))
    colluding = data.draw(st.integers(0, threshold - 1))
    target = data.draw(st.integers(10**6, 10**12))
    plan = LayerPlan("skellam", target, members, threshold, colluding)
    for dropped in range(members - threshold + 1):
        stays = sum(plan.layers[: dropped + 1])
        honest = members - dropped - colluding
        assert stays == plan.share_variance(dropped)
        assert target <= honest * stays < target + honest


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("dropped", [0, 1, 2])
def test_the_sum_has_the_noise_of_one_curator_whoever_drops_out(law, dropped):
    dimension, target = 40_000, 1_000_000
    plan = LayerPlan(law, target, members=6, threshold=4, colluding=0)
    sampler, chains, draws = shares_of(plan, dimension)
    survivors = range(dropped, 6)
    total = sum(draws[member] for member in survivors)
    before = total.std()
    total -= taken_back(plan, sampler, chains[dropped:], dropped, dimension)
    assert kstest(total / math.sqrt(target), "norm").pvalue > 1e-3
    # Sized for the fewest survivors alone it would have been more, if more survived.
    assert before == pytest.approx(math.sqrt(target * len(survivors) / 4), rel=0.02)


def test_colluders_who_reveal_everything_leave_the_noise_that_was_priced():
    dimension, target = 40_000, 4_000_000
    plan = LayerPlan("skellam", target, members=5, threshold=4, colluding=2)
    sampler, chains, draws = shares_of(plan, dimension)
    # All survive; members 0 and 1 collude: the coordinator knows their shares.
    total = sum(draws[2:]) - taken_back(plan, sampler, chains[2:], 0, dimension)
    assert total.std() == pytest.approx(math.sqrt(target), rel=0.02)
    assert kstest(total / math.sqrt(target), "norm").pvalue > 1e-3


def test_a_survivor_that_reveals_nothing_leaves_its_noise():
    plan = LayerPlan("skellam", 10**6, members=4, threshold=3, colluding=0)
    sampler, chains, draws = shares_of(plan, 20_000)
    total = sum(draws) - taken_back(plan, sampler, chains[1:], 0, 20_000)
    more = plan.share_variance(1) - plan.share_variance(0)
    assert total.var() == pytest.approx(10**6 + more, rel=0.03)


def test_one_round_is_revealed_for_one_set_of_survivors():
    """A coordinator that shows two sets would take back a layer that is still needed."""
    chain = NoiseChain(bytes(32), 2)
    link = chain.reveal(1)
    assert chain.reveal(1) == link
    with pytest.raises(LocalProtocolError, match="one set"):
        chain.reveal(0)


@pytest.mark.parametrize("dropped", [-1, 3])
def test_a_number_of_dropouts_that_is_not_let_through_reveals_nothing(dropped):
    with pytest.raises(LocalProtocolError):
        NoiseChain(bytes(32), 2).reveal(dropped)


def test_the_first_layer_is_never_taken_back():
    sampler = LayeredSampler(LayerPlan("skellam", 10**6, members=5, threshold=4, colluding=0))
    with pytest.raises(LocalProtocolError):
        sampler.excess([[bytes(32)] * 2], 10)
    assert not sampler.excess([[]], 10).any()


def test_what_cannot_be_cut_into_layers_is_refused():
    with pytest.raises(ConfigError, match="layers"):
        LayerPlan("skellam", 100, members=50, threshold=34, colluding=0)
    with pytest.raises(ConfigError, match="honest"):
        LayerPlan("skellam", 10**9, members=5, threshold=4, colluding=4)


def test_layers_of_discrete_gaussians_add_up_to_one_law():
    # Two laws of variances a and b are merged at a b / (a + b), at least half the smaller.
    assert 2**78 * log_factor(LEAST_LAYER, 2, 20.0) < 1e-30


def test_a_plan_of_a_budget_is_cut_into_layers():
    plan = plan_noise(
        Budget(1.0, 1e-5), Sensitivity(1000.0, 500), honest=5, sampling_rate=0.1, steps=10
    )
    layers = LayerPlan(plan.law, plan.honest * plan.share_variance, 5, 4, 0)
    assert layers.share_variance(0) == plan.share_variance
    assert layers.share_variance(1) == pytest.approx(1.25 * plan.share_variance, rel=1e-6)
