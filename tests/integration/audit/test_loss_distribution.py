"""The second accountant against others: by other people, by another method, and exact."""

import math

import pytest
from scipy import optimize, stats

from securefl.privacy.accounting.accountant import epsilon_of
from securefl.privacy.accounting.events import SampledGaussian
from securefl.privacy.accounting.pld import SMALLEST_DELTA, Composition
from support.loss_distributions import loss_distribution_epsilon

CASES = [
    (1.0, 0.01, 10_000, 1e-5),
    (0.7, 0.01, 100, 1e-5),
    (2.0, 0.5, 40, 1e-5),
    (20.0, 0.5, 2000, 1e-6),
]

EARLIER = (6.188489758689664, 2.3673372813224085, 8.339493970516035, 5.559896065177313)


def own(sigma, rate, steps, delta):
    return Composition({(sigma, rate): steps}).epsilon({(sigma, rate): steps}, delta)


@pytest.mark.parametrize("case", CASES)
def test_it_agrees_with_the_distribution_of_google(case):
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


@pytest.mark.parametrize(("case", "earlier"), [*zip(CASES, EARLIER, strict=True)])
def test_epsilon_is_as_tight_as_before(case, earlier):
    """Figures of the implementation that this one took the place of, on a grid twice as wide."""
    assert earlier * (1 - 5e-4) < own(*case) <= earlier + 1e-6


def test_a_known_answer():
    assert own(1.0, 0.01, 10_000, 1e-5) == pytest.approx(6.188, abs=5e-4)


def test_many_full_batches_are_exact():
    """However many steps: a hundred million of deviation 10^4 are one of deviation one."""
    assert own(1e4, 1.0, 10**8, 1e-5) == pytest.approx(own(1.0, 1.0, 1, 1e-5), abs=1e-9)


def test_more_steps_than_go_at_once():
    """Composed in two goes; no cheaper than in one, and no dearer by what the cuts add."""
    sigma, rate, delta = 50.0, 0.1, 1e-6
    fewer, count = own(sigma, rate, 1 << 16, delta), own(sigma, rate, (1 << 16) + 5, delta)
    renyi = epsilon_of([SampledGaussian(sigma, rate, (1 << 16) + 5)], delta, "rdp")
    assert fewer <= count <= fewer + 1e-3
    assert 0.8 * renyi < count < renyi


def test_absurd_steps_have_no_epsilon():
    assert own(1e4, 1e-6, (1 << 32) + 1, 1e-5) == math.inf


def test_too_little_noise_has_no_epsilon():
    assert own(1e-3, 0.5, 1, 1e-5) == math.inf


def test_what_cannot_be_asked():
    composition = Composition({(1.0, 0.1): 100})
    with pytest.raises(ValueError, match="delta"):
        composition.epsilon({(1.0, 0.1): 1}, SMALLEST_DELTA / 2)
    with pytest.raises(ValueError, match="announced"):
        composition.epsilon({(1.0, 0.2): 1}, 1e-5)
