"""Noise shares under masks: the sum that a session releases has the law that is claimed for it."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import chisquare

from securefl_protocols.noise import discrete_gaussian, skellam
from securefl_protocols.noise.alias_table import WEIGHT_BITS, weights_of
from securefl_protocols.noise.words import UniformWords
from securefl_protocols.session.dropouts import ServerStep
from support.session_driver import Consortium, Exchange, inputs, small_plan

MEMBERS, DIMENSION, SHARE = 5, 60_000, Fraction(3)
LAWS = {discrete_gaussian.DiscreteGaussian: discrete_gaussian, skellam.Skellam: skellam}


def law_of(law, shares):
    """The exact law of a sum of shares, by convolution; its middle is zero."""
    one = np.array([float(Fraction(w, 1 << WEIGHT_BITS)) for w in exact_weights(law)])
    total = np.ones(1)
    for _ in range(shares):
        total = np.convolve(total, one)
    return total


def exact_weights(law):
    return weights_of(LAWS[law].masses_of(SHARE))


def check(found, law, shares):
    """Chi-square against the exact law, values seldom seen taken together."""
    exact = law_of(law, shares)
    reach = int(np.flatnonzero(exact[len(exact) // 2 :] * found.size < 20)[0]) - 1
    middle = len(exact) // 2
    inner = exact[middle - reach : middle + reach + 1]
    counts = np.bincount(np.clip(found, -reach - 1, reach + 1) + reach + 1, minlength=2 * reach + 3)
    expected = (
        np.r_[exact[: middle - reach].sum(), inner, exact[middle + reach + 1 :].sum()] * found.size
    )
    assert chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-4


def shares_of(law, key):
    sampler, shares = law(SHARE), np.empty((MEMBERS, DIMENSION), dtype=np.int64)
    for number, share in enumerate(shares):
        sampler.fill(UniformWords(bytes([key + number]) * 32), share)
    return shares


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("missing", [0, 1])
def test_the_unmasked_sum_of_shares_has_the_law_of_their_sum(law, missing):
    plan = small_plan(MEMBERS, dimension=DIMENSION)
    exchange = Exchange.of(Consortium(plan))
    signal = [vector.view("<i4") // 4 for vector in inputs(plan)]
    shares = shares_of(law, 10 * missing + 1)
    vectors = [
        (own + share).astype("<i4").view("<u4") for own, share in zip(signal, shares, strict=True)
    ]
    result = exchange.run(vectors, {ServerStep.MASK: range(missing)})
    assert result.survivors == tuple(range(missing, MEMBERS))
    noise = result.total.view("<i4").astype(np.int64) - sum(signal[missing:])
    check(noise, law, MEMBERS - missing)
    # Two of the survivors collude and know their own shares; what they do not know is the noise
    # of t - 2 honest ones at least.
    left = noise - shares[missing] - shares[missing + 1]
    check(left, law, MEMBERS - missing - 2)
    with pytest.raises(AssertionError):
        check(left, law, MEMBERS - missing)
