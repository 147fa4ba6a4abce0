"""A whole member as the unit: integers of bounded norm, and a sum that is close to the truth."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securefl.errors import ConfigError
from securefl.privacy.accounting.calibration import Budget
from securefl.privacy.accounting.sensitivity import randomly_rounded_member, rounded_member
from securefl.privacy.encoding.client_update import AtRandom, MemberEncoding, to_nearest
from securefl.privacy.noise.shares import plan_noise
from securefl_protocols.noise.words import UniformWords

SEED = bytes(range(32))


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 400),
    st.sampled_from([1e-3, 0.1, 3.0]),
    st.floats(-3, 8),
    st.booleans(),
)
def test_no_member_is_longer_than_the_sensitivity(dimension, inflation, size, random):
    encoding = MemberEncoding(
        1.0, dimension, SEED, inflation=inflation, bias=0.3 if random else None
    )
    update = np.random.default_rng(dimension).normal(size=dimension) * 10**size
    rounding = AtRandom(UniformWords(SEED)) if random else to_nearest
    integers = encoding.encode(update, rounding)
    assert int(integers @ integers) <= encoding.sensitivity.l2**2
    assert np.abs(integers).sum() <= encoding.sensitivity.l1 + 1e-6


def test_a_rounding_that_is_too_long_is_not_sent():
    encoding = MemberEncoding(1.0, 8, SEED)

    def far(scaled):
        return np.rint(3 * scaled).astype(np.int64)

    assert not encoding.encode(np.ones(8), far).any()
    assert encoding.encode(np.ones(8)).any()


def test_updates_survive_encoding():
    encoding = MemberEncoding(2.0, 1000, SEED)
    updates = np.random.default_rng(1).normal(size=(4, 1000)) / 40
    total = sum(encoding.encode(update) for update in updates)
    assert np.abs(encoding.decode(total) - updates.sum(axis=0)).max() < 1e-3
    long = np.full(1000, 7.0)
    decoded = encoding.decode(encoding.encode(long))
    assert np.linalg.norm(decoded) == pytest.approx(2.0, rel=1e-2)
    assert not encoding.encode(np.zeros(1000)).any()


def test_random_rounding_has_no_bias():
    rounding, scaled = AtRandom(UniformWords(SEED)), np.array([0.25, -1.5, 2.0, -0.1])
    mean = np.mean([rounding(scaled) for _ in range(4000)], axis=0)
    assert np.abs(mean - scaled).max() < 4 * 0.5 / math.sqrt(4000)


def test_random_rounding_is_shorter_than_the_worst_case():
    # Kairouz, Liu and Steinke 2021: sqrt(L^2 + d / 4 + sqrt(2 log(1 / b)) (L + sqrt(d) / 2)).
    found = randomly_rounded_member(1.0, 0.01, 10_000, math.exp(-0.5))
    assert found.l2 == pytest.approx(math.sqrt(100**2 + 2500 + 150))
    assert found.l2 < rounded_member(1.0, 0.01, 10_000).l2 == pytest.approx(150)


def test_a_noised_sum_of_many_members_has_the_noise_that_was_planned():
    members, dimension = 40, 3000
    encoding = MemberEncoding(1.0, dimension, SEED, bias=0.5)
    plan = plan_noise(
        Budget(2.0, 1e-5), encoding.sensitivity, honest=members, sampling_rate=1.0, steps=1
    )
    sampler = plan.sampler()
    updates = np.random.default_rng(3).normal(size=(members, dimension)) / 60
    total, noise = np.zeros(encoding.rotation.padded, np.int64), np.empty(4096, np.int64)
    for member, update in enumerate(updates):
        words = UniformWords(bytes([member]) * 32)
        sampler.fill(words, noise)
        total += encoding.encode(update, AtRandom(words)) + noise
    error = encoding.decode(total) - updates.sum(axis=0)
    assert error.std() == pytest.approx(plan.deviation * encoding.step, rel=0.05)


@pytest.mark.parametrize("bad", [{"bias": 1.0}, {"bias": 0.0}, {"inflation": 1e-9}])
def test_encodings_that_promise_nothing_are_refused(bad):
    with pytest.raises(ConfigError):
        MemberEncoding(1.0, 10, SEED, **bad)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.7e308])
def test_an_update_that_is_not_finite_counts_as_zero(value):
    """Were it refused, the member would be missing from the sum, and its data tell that."""
    encoding = MemberEncoding(1.0, 3, SEED)
    with np.errstate(over="ignore"):
        found = encoding.encode(np.array([1.0, value, value]))
    assert found.shape == (encoding.rotation.padded,)
    assert not found.any()
