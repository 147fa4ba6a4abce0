"""Noise for a budget: within it, close to it, and with what was spent before."""

from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from securefl.privacy.accounting.accountant import epsilon_of
from securefl.privacy.accounting.calibration import Budget, noise_multiplier
from securefl.privacy.accounting.events import SampledGaussian


@limits(max_examples=5, deadline=None)
@given(
    epsilon=st.floats(0.3, 12),
    rate=st.sampled_from([0.003, 0.02, 0.2, 1.0]),
    steps=st.integers(1, 3000),
)
def test_calibration_never_exceeds_the_budget_and_wastes_little(epsilon, rate, steps):
    budget = Budget(epsilon, 1e-5)
    sigma = noise_multiplier(budget, sampling_rate=rate, steps=steps)
    assert epsilon_of([SampledGaussian(sigma, rate, steps)], 1e-5) <= epsilon
    if sigma > 0.02:
        less = SampledGaussian(sigma * 0.998, rate, steps)
        assert epsilon_of([less], 1e-5) > epsilon * 0.99


def test_calibration_with_prv_and_with_what_is_already_spent():
    budget = Budget(4.0, 1e-5)
    prv = noise_multiplier(budget, sampling_rate=0.05, steps=30, accountant="prv")
    assert epsilon_of([SampledGaussian(prv, 0.05, 30)], 1e-5, "prv") <= 4
    assert prv < noise_multiplier(budget, sampling_rate=0.05, steps=30, accountant="rdp")
    spent = [SampledGaussian(2.0, 0.05, 100)]
    later = noise_multiplier(budget, sampling_rate=0.05, steps=300, spent=spent)
    assert epsilon_of([*spent, SampledGaussian(later, 0.05, 300)], 1e-5) <= 4
    assert later > noise_multiplier(budget, sampling_rate=0.05, steps=300)
