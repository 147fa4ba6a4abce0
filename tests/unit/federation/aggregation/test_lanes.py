"""Narrow lanes: only where what was agreed says beforehand that they are exact enough."""

import numpy as np
import pytest

from securefl.config.schema import RunConfig
from securefl.errors import ConfigError
from securefl.federation.aggregation.session_parameters import (
    agreed_format,
    encode_update,
    rounding_key,
)
from securefl.privacy.encoding.lanes import (
    ALWAYS_FINE,
    described,
    noise_reach,
    noised_encoding,
    update_encoding,
)
from securefl_protocols.noise.discrete_gaussian import DiscreteGaussian
from securefl_protocols.noise.skellam import Skellam
from securefl_protocols.noise.words import UniformWords
from securefl_protocols.primitives.errors import PlanError, RangeError
from securefl_protocols.primitives.ring import RingDtype

TIGHT = {"limit": 2.0, "max_samples": 1 << 16, "min_samples": 1 << 9, "tolerance": 1e-6}


def lane_of(small_config, members=5, **secure):
    return encoding_of(small_config, members, **secure).ring


def encoding_of(small_config, members=5, **secure):
    return update_encoding(small_config(secure=secure), members)


def test_without_agreed_numbers_a_coordinate_has_32_bits(small_config):
    """As many as plain float32 has, whatever the members turn out to have."""
    assert lane_of(small_config) is RingDtype.UINT32
    assert lane_of(small_config, members=1000) is RingDtype.UINT32


@pytest.mark.parametrize("key", ["min_samples", "expected_samples"])
def test_24_bits_where_they_cost_next_to_nothing(small_config, key):
    """Part of the largest change, for the sample counts that were agreed or are expected."""
    numbers = {"limit": 2.0, "max_samples": 1 << 15}
    assert lane_of(small_config, **numbers, **{key: 1 << 10}) is RingDtype.UINT24
    assert lane_of(small_config, **numbers, **{key: 1 << 6}) is RingDtype.UINT32
    assert lane_of(small_config, 50, **numbers, **{key: 1 << 10}) is RingDtype.UINT32
    encoding = encoding_of(small_config, **numbers, **{key: 1 << 10})
    assert encoding.error_bound(5, 5 << 10) <= 2.0 * ALWAYS_FINE


def test_with_tight_numbers_32_bits_are_enough(small_config):
    assert lane_of(small_config, **TIGHT) is RingDtype.UINT32


@pytest.mark.parametrize(
    "change",
    [{"limit": 32.0}, {"max_samples": 1 << 20}, {"min_samples": 0}, {"tolerance": 1e-8}],
)
def test_where_32_bits_could_miss_the_tolerance_there_are_64(small_config, change):
    assert lane_of(small_config, **TIGHT | change) is RingDtype.UINT64


def test_weights_wider_than_a_lane_go_into_digits(small_config):
    """So they do not decide how wide a coordinate is."""
    weights = {"max_samples": 1 << 30, "min_samples": 1 << 30}
    assert lane_of(small_config, **weights, tolerance=1.0) is RingDtype.UINT24


def test_whoever_agrees_on_a_width_gets_it(small_config):
    assert lane_of(small_config, bits=32) is RingDtype.UINT32
    assert lane_of(small_config, bits=64) is RingDtype.UINT64
    assert lane_of(small_config, bits=24) is RingDtype.UINT24
    assert lane_of(small_config, bits=16) is RingDtype.UINT16


@pytest.mark.parametrize("samples", [[512] * 5, [65536] * 5, [512, 600, 65536, 1000, 513]])
def test_a_mean_of_32_bits_is_within_the_tolerance(small_config, samples):
    encoding = encoding_of(small_config, **TIGHT)
    draw = np.random.default_rng(1)
    changes = draw.uniform(-2, 2, (5, 1000)).astype(np.float32)
    parts = [encode_update(encoding, c, 0.5, w) for c, w in zip(changes, samples, strict=True)]
    decoded = encoding.decode(sum(parts[1:], parts[0]))
    exact = np.average(changes.astype(float), axis=0, weights=samples)
    error = np.abs(decoded.mean - exact).max()
    assert error <= encoding.error_bound(5, sum(samples)) <= 1e-6
    assert error > 0


@pytest.mark.parametrize("bits", [16, 24, 32, 64])
def test_losses_and_weights_are_exact_in_every_lane(small_config, bits):
    """In as many digits as they need, however narrow the lanes are."""
    encoding = encoding_of(small_config, 100, bits=bits)
    parts = []
    for member, (loss, samples) in enumerate([(0.3, 1 << 20), (-1e5, 7), (float(1 << 20), 1)]):
        change = np.zeros(3, dtype=np.float32)
        key = bytes([member]) * 32 if encoding.at_random else None
        parts.append(encode_update(encoding, change, loss, samples, key))
    decoded = encoding.decode(sum(parts[1:], parts[0]))
    assert decoded.total_weight == (1 << 20) + 8
    assert decoded.exact == (round(0.3 * 2**40) - 700_000 * 2**20 + 2**40,)
    with pytest.raises(RangeError):
        encode_update(encoding, change, 1.1 * 2**20, 1, key)
    with pytest.raises(RangeError):
        encode_update(encoding, change, float("nan"), 1, key)


def test_random_rounding_is_secret_and_of_one_round():
    """Every member, run, round and model has a key of its own, from the identity key alone."""
    base = (bytes(32), b"r" * 32, 1, b"m" * 32)
    keys = [rounding_key(*base)]
    changed = (b"i" * 32, b"q" * 32, 2, b"n" * 32)
    for place, value in enumerate(changed):
        keys.append(rounding_key(*base[:place], value, *base[place + 1 :]))
    assert len(set(keys)) == 5
    assert rounding_key(*base) == keys[0]


def test_random_rounding_under_noise_shares_is_refused(small_config):
    """No price of a noised sum includes it; 16 bits alone do not ask for it there."""
    distributed = {"dp": "distributed", "epsilon": 8.0, "delta": 1e-3}
    with pytest.raises(ConfigError, match=r"secure.rounding.*sensitivity"):
        small_config(privacy=distributed, secure={"rounding": "random"})
    assert isinstance(small_config(privacy=distributed, secure={"bits": 16}), RunConfig)


@pytest.mark.parametrize(("signal", "ring"), [(0.01, 16), (10.0, 24), (3e3, 32), (1e6, 64)])
def test_noised_lanes_are_the_narrowest_that_hold_the_noise(small_config, signal, ring):
    """No sum of that many members can wrap, and the next narrower lanes have no room."""
    config = small_config()
    found = noised_encoding(config, 5, 12, signal, 1000)
    assert found.ring == ring
    assert found.largest_integer == np.ceil(signal * 4096) + 1000
    assert 5 * found.largest_input <= found.ring.largest
    narrower = [width for width in (16, 24, 32) if width < ring]
    for width in narrower:
        with pytest.raises(PlanError):
            noised_encoding(small_config(secure={"bits": width}), 5, 12, signal, 1000)


@pytest.mark.parametrize("law", [DiscreteGaussian, Skellam])
@pytest.mark.parametrize("variance", [1, 40, 10_000])
def test_noise_stays_within_its_reach(law, variance):
    """By far: the bound is for a chance of 2^-100 over all draws of a run."""
    drawn = np.empty(1 << 14, dtype=np.int64)
    law(variance).fill(UniformWords(b"k" * 32), drawn)
    reach = noise_reach(variance, 1 << 14)
    assert np.abs(drawn).max() < reach
    deviations = reach / variance**0.5
    assert 12.6 < deviations < (70 if variance == 1 else 20)


@pytest.mark.parametrize("variance", [1, 30, 1 << 20])
def test_reach_is_where_the_exact_tail_falls_below(variance):
    """Of the Skellam law, whose masses are known: the tail beyond it is below 2^-100 a run."""
    from scipy.special import ive

    draws = 1 << 20
    reach = noise_reach(variance, draws)
    tail = 2 * draws * ive(np.arange(reach, reach + 10_000), variance).sum()
    assert tail <= 2.0**-100
    assert 2 * draws * ive(reach // 2, variance) > 2.0**-100


def test_equal_weights_need_no_room_for_counts(small_config):
    """Under a budget every member has weight 1, whatever counts were agreed."""
    config = small_config(privacy={"dp": "local", "epsilon": 8.0, "delta": 1e-3})
    encoding = agreed_format(config, 5, 5, 10).encoding
    assert encoding.max_weight == 1
    assert encoding.ring is RingDtype.UINT24
    assert encoding.error_bound(5, 5) <= config.secure.limit * ALWAYS_FINE


def test_what_was_agreed_says_its_lanes_and_their_error(small_config):
    """As `agreement show` prints it; under noise shares the model decides, which no plan knows."""
    tight = {"limit": 2.0, "max_samples": 1 << 15, "min_samples": 1 << 10}
    said = described(small_config(secure=tight), 5)
    assert said.startswith("24 bits a coordinate; a mean change is off by at most 3e-05")
    assert "1,024 samples" in said
    distributed = {"dp": "distributed", "epsilon": 8.0, "delta": 1e-3}
    assert "noise" in described(small_config(privacy=distributed), 5)
    assert "24 bits" in described(small_config(privacy=distributed, secure={"bits": 24}), 5)
