"""The one-run bound: a value from the paper's formula, and that it is a bound."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from securefl.audit.attacks.one_run import LARGEST, Guesses, guess, lower_bound, p_value


def test_the_known_answer():
    assert p_value(Guesses(1000, 100, 95), 2.0, 1e-5) == pytest.approx(0.017825, abs=5e-7)


def test_without_delta_it_is_a_binomial_tail():
    right = binom.sf(94, 100, 1 / (1 + math.exp(-2)))
    assert p_value(Guesses(1000, 100, 95), 2.0, 0.0) == pytest.approx(right)


def test_the_p_value_falls_with_right_guesses_and_grows_with_epsilon_and_delta():
    def p(right=90, epsilon=1.0, delta=1e-5):
        return p_value(Guesses(1000, 100, right), epsilon, delta)

    assert p(right=95) < p() < p(epsilon=2.0)
    assert p() < p(delta=1e-3)
    assert p(right=0) == 1.0


def test_guesses_are_made_at_both_ends_and_nowhere_else():
    scores = np.array([5.0, 4.0, 0.3, 0.2, 0.1, -4.0, -5.0])
    included = np.array([True, False, False, True, False, False, True])
    assert guess(scores, included, 4) == Guesses(7, 4, 2)
    assert guess(scores, included, 3) == Guesses(7, 2, 1)


def test_the_bound_is_where_the_p_value_crosses_the_level():
    guesses = Guesses(1000, 100, 95)
    bound = lower_bound(guesses, 1e-5, 0.95)
    assert 1.5 < bound < 3.0
    assert p_value(guesses, bound, 1e-5) == pytest.approx(0.05, rel=1e-6)
    assert lower_bound(Guesses(1000, 100, 50), 1e-5, 0.95) == 0.0
    assert lower_bound(Guesses(100_000, 100_000, 100_000), 0.0, 0.95) < LARGEST


def test_randomised_response_is_not_refuted_more_often_than_stated():
    rng = np.random.default_rng(3)
    epsilon, made = 1.0, 400
    right = rng.binomial(made, 1 / (1 + math.exp(-epsilon)), 400)
    values, counts = np.unique(right, return_counts=True)
    above = sum(
        count
        for v, count in zip(values, counts, strict=True)
        if lower_bound(Guesses(made, made, int(v)), 1e-6, 0.95) > epsilon
    ) / len(right)
    assert 0.01 < above < 0.08  # it is tight here: about 5 %, and not 0
