"""The second accountant against others: by other people, by another method, and exact."""

import math

import pytest
from scipy import optimize, stats

from securefl.audit.loss_distribution import SMALLEST_DELTA, Composition
from securefl.privacy.accounting import epsilon_of
from securefl.privacy.events import SampledGaussian
from securefl.privacy.second_opinion import loss_distribution_epsilon

CASES = [
    (1.0, 0.01, 10_000, 1e-5),
    (0.7, 0.01, 100, 1e-5),
    (2.0, 0.5, 40, 1e-5),
    (20.0, 0.5, 2000, 1e-6),
]


def own(sigma, rate, steps, delta):
    return Composition({(sigma, rate): steps}).epsilon({(sigma, rate): steps}, delta)


@pytest.mark.parametrize("case", CASES)
def test_it_agrees_with_the_distribution_of_google(case):
    pytest.importorskip("dp_accounting")
    sigma, rate, steps, delta = case
    theirs = loss_distribution_epsilon([SampledGaussian(sigma, rate, steps)], delta)
    assert own(*case) == pytest.approx(theirs, abs=2e-4 * (1 + theirs))


@pytest.mark.parametrize("case", CASES[:2])
def test_opacus_is_never_below_it(case):
    sigma, rate, steps, delta = case
    event = SampledGaussian(sigma, rate, steps)
    assert own(*case) <= epsilon_of([event], delta, "prv")
    assert own(*case) <= epsilon_of([event], delta, "rdp")


@pytest.mark.parametrize(("sigma", "steps"), [(1.0, 1), (3.0, 9), (10.0, 400)])
def test_full_batches_are_the_gaussian_mechanism(sigma, steps):
    """Balle and Wang 2018, theorem 8, with deviation sigma / sqrt(steps)."""
    delta, s = 1e-5, sigma / math.sqrt(steps)

    def excess(epsilon):
        return (
            stats.norm.cdf(0.5 / s - epsilon * s)
            - math.exp(epsilon) * stats.norm.cdf(-0.5 / s - epsilon * s)
            - delta
        )

    exact = optimize.brentq(excess, 0, 200)
    assert exact - 1e-9 <= own(sigma, 1.0, steps, delta) <= exact + 1e-4


def test_a_part_of_what_was_announced_costs_what_it_costs_alone():
    kinds = {(1.5, 0.2): 50, (4.0, 0.5): 30}
    whole = Composition(kinds)
    assert whole.epsilon({(1.5, 0.2): 20}, 1e-5) == pytest.approx(own(1.5, 0.2, 20, 1e-5), abs=1e-4)
    assert whole.epsilon({}, 1e-5) == 0
    together = whole.epsilon(kinds, 1e-5)
    events = [SampledGaussian(*kind, steps) for kind, steps in kinds.items()]
    assert together <= epsilon_of(events, 1e-5)
    assert together > max(own(*kind, steps, 1e-5) for kind, steps in kinds.items())


def test_more_costs_more_and_a_smaller_delta_too():
    composition = Composition({(1.0, 0.1): 100})
    by_steps = [composition.epsilon({(1.0, 0.1): n}, 1e-5) for n in (1, 10, 50, 100)]
    assert by_steps == sorted(by_steps)
    by_delta = [composition.epsilon({(1.0, 0.1): 100}, d) for d in (1e-3, 1e-5, 1e-8)]
    assert by_delta == sorted(by_delta)


def test_too_little_noise_has_no_epsilon():
    assert own(1e-3, 0.5, 1, 1e-5) == math.inf


def test_what_cannot_be_asked():
    composition = Composition({(1.0, 0.1): 100})
    with pytest.raises(ValueError, match="delta"):
        composition.epsilon({(1.0, 0.1): 1}, SMALLEST_DELTA / 2)
    with pytest.raises(ValueError, match="announced"):
        composition.epsilon({(1.0, 0.2): 1}, 1e-5)
