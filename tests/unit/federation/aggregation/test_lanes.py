"""Lanes of 32 bits: only where what was agreed says beforehand that they are exact enough."""

import numpy as np
import pytest

from securefl.federation.aggregation.session_parameters import agreed_encoding, encode_update
from securefl_protocols.primitives.ring import RingDtype

TIGHT = {"limit": 2.0, "max_samples": 1 << 16, "min_samples": 1 << 9}


def lane_of(small_config, members=5, **secure):
    return agreed_encoding(small_config(secure=secure), members, 10).ring


def test_without_agreed_numbers_a_coordinate_has_64_bits(small_config):
    assert lane_of(small_config) is RingDtype.UINT64


def test_with_tight_numbers_32_bits_are_enough(small_config):
    assert lane_of(small_config, **TIGHT) is RingDtype.UINT32


@pytest.mark.parametrize(
    "change",
    [{"limit": 32.0}, {"max_samples": 1 << 20}, {"min_samples": 0}, {"tolerance": 1e-8}],
)
def test_where_32_bits_could_miss_the_tolerance_there_are_64(small_config, change):
    assert lane_of(small_config, **TIGHT | change) is RingDtype.UINT64


def test_where_32_bits_have_no_room_at_all_there_are_64(small_config):
    weights = {"max_samples": 1 << 30, "min_samples": 1 << 30}
    assert lane_of(small_config, **weights, tolerance=1.0) is RingDtype.UINT64


def test_whoever_agrees_on_a_width_gets_it(small_config):
    assert lane_of(small_config, bits=32) is RingDtype.UINT32
    assert lane_of(small_config, bits=64, **TIGHT) is RingDtype.UINT64


@pytest.mark.parametrize("samples", [[512] * 5, [65536] * 5, [512, 600, 65536, 1000, 513]])
def test_a_mean_of_32_bits_is_within_the_tolerance(small_config, samples):
    encoding = agreed_encoding(small_config(secure=TIGHT), 5, 1000)
    draw = np.random.default_rng(1)
    changes = draw.uniform(-2, 2, (5, 1000)).astype(np.float32)
    parts = [encode_update(encoding, c, 0.5, w) for c, w in zip(changes, samples, strict=True)]
    decoded = encoding.decode(sum(parts[1:], parts[0]))
    exact = np.average(changes.astype(float), axis=0, weights=samples)
    error = np.abs(decoded.mean[:-1] - exact).max()
    assert error <= encoding.error_bound(5, sum(samples)) <= 1e-6
    assert error > 0
