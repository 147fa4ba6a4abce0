"""The key stream, the Gaussian and the Poisson sampler."""

import ast
import copy
import math
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import securefl.privacy
from securefl.privacy.dpsgd.poisson_sampling import PoissonSampler, SamplingPlan
from securefl.privacy.noise.csprng import AesCtrRng
from securefl.privacy.noise.gaussian import _COSINE, _SINE, CHUNK, GaussianNoise

KEY = bytes(range(32))


class FixedWords:
    """Stands for a key stream whose words are known."""

    def __init__(self, words):
        self._words = np.asarray(words, dtype=np.int64)

    def fill(self, words):
        words[:] = self._words[: len(words)]
        self._words = self._words[len(words) :]


def test_the_words_are_the_counter_mode_key_stream_of_sp_800_38a():
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    stream = AesCtrRng.insecure_for_tests(key)
    assert stream.words(2).tobytes() == _aes_block(key, bytes(16))
    assert stream.words(2).tobytes() == _aes_block(key, bytes(15) + b"\x01")


def _aes_block(key, block):
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)


def test_a_long_draw_is_many_short_ones():
    whole = AesCtrRng.insecure_for_tests(KEY).words(100_001)
    stream = AesCtrRng.insecure_for_tests(KEY)
    parts = [stream.words(n) for n in (1, 65_000, 35_000)]
    assert np.array_equal(np.concatenate(parts), whole)


def test_two_members_never_share_noise():
    first, second = (GaussianNoise(AesCtrRng()).standard(1000) for _ in range(2))
    assert not torch.isin(first, second).any()


def test_a_test_key_is_labelled_and_never_printed():
    stream = AesCtrRng.insecure_for_tests(KEY)
    assert stream.is_deterministic
    assert "TEST" in stream.description
    assert KEY.hex() not in repr(stream)
    assert not AesCtrRng().is_deterministic


@pytest.mark.parametrize("copying", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_stream_cannot_be_duplicated(copying):
    with pytest.raises(TypeError, match="cannot be"):
        copying(AesCtrRng())


def test_a_stream_refuses_to_run_on_in_a_forked_process(monkeypatch):
    stream = AesCtrRng()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(RuntimeError, match="fork"):
        stream.words(1)


def test_a_key_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="31 bytes"):
        AesCtrRng.insecure_for_tests(KEY[:31])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_noise_is_standard_normal_and_white(dtype):
    count = 1 << 20
    noise = GaussianNoise(AesCtrRng.insecure_for_tests(KEY)).standard(count, dtype).double()
    assert stats.kstest(noise.numpy(), "norm").pvalue > 1e-3
    assert abs(noise.mean()) < 5 / math.sqrt(count)
    assert abs(noise.var() - 1) < 5 * math.sqrt(2 / count)
    assert abs(noise.pow(3).mean()) < 5 * math.sqrt(15 / count)
    assert abs(noise.pow(4).mean() - 3) < 5 * math.sqrt(96 / count)
    for lag in (1, 2, CHUNK // 2, CHUNK):
        product = noise[lag:] * noise[:-lag]
        assert abs(product.mean()) < 5 / math.sqrt(count)
        squares = (noise[lag:] ** 2 - 1) * (noise[:-lag] ** 2 - 1)
        assert abs(squares.mean()) < 5 * 2 / math.sqrt(count)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_quadrants_are_equally_likely(dtype):
    pairs = CHUNK // 2
    noise = GaussianNoise(AesCtrRng.insecure_for_tests(KEY)).standard(CHUNK, dtype)
    first, second = noise[:pairs], noise[pairs:]
    octant = (first > 0).int() + 2 * (second > 0).int() + 4 * (first.abs() > second.abs()).int()
    assert stats.chisquare(torch.bincount(octant).numpy()).pvalue > 1e-3


@pytest.mark.parametrize(("dtype", "bits"), [(torch.float32, -21), (torch.float64, -48)])
def test_each_pair_is_the_point_of_its_words(dtype, bits):
    """Radius and angle recomputed from the same words in the plainest way."""
    pairs = 4096
    single = dtype == torch.float32
    words = AesCtrRng.insecure_for_tests(KEY).words(pairs + (pairs // 2 if single else pairs))
    found = GaussianNoise(AesCtrRng.insecure_for_tests(KEY)).standard(2 * pairs, dtype).numpy()
    uniform = (2.0 * (words[:pairs].view(np.uint64) >> np.uint64(1)) + 1) / 2**64
    radius = np.sqrt(-2 * np.log(uniform))
    if single:
        angle = words[pairs:].view(np.int32)
        turns, sign = angle / 2**32, 1 - 2 * (angle & 1)
    else:
        turns, sign = words[pairs:] / 2**63, 1
    point = [np.cos(np.pi * turns), np.sin(np.pi * turns)]
    expected = (sign * radius * point).ravel()
    assert (np.abs(found - expected) <= 2.0**bits * np.tile(radius, 2)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_tail_goes_on_where_torch_stops_and_the_centre_is_finite(dtype):
    farthest = math.sqrt(128 * math.log(2))
    for word, radius in ((0, farthest), (1, farthest), (-1, 0.0), (-2, 0.0)):
        noise = GaussianNoise(FixedWords([word, 0])).standard(2, dtype)
        assert noise.isfinite().all()
        assert noise.double().norm() == pytest.approx(radius, rel=2**-21, abs=1e-6)
    assert farthest > 9.4 > math.sqrt(-2 * math.log(2**-24)) > 5.76


@pytest.mark.parametrize(
    ("coefficients", "power", "function", "bound"),
    [(_COSINE, 0, np.cos, 5e-8), (_SINE, 1, np.sin, 7e-9)],
)
def test_the_polynomials_are_as_close_as_they_say(coefficients, power, function, bound):
    x = np.linspace(-1, 1, 200_001)
    found = x**power * np.polynomial.polynomial.polyval(x * x, coefficients)
    assert np.abs(found - function(np.pi / 2 * x)).max() <= bound


def test_many_tensors_get_one_run_of_noise():
    sizes = (5, CHUNK + 3, 1, 2 * CHUNK, 7)
    tensors = [torch.ones(size, dtype=torch.float32) for size in sizes]
    GaussianNoise(AesCtrRng.insecure_for_tests(KEY)).add_(tensors, 2.0)
    stream = GaussianNoise(AesCtrRng.insecure_for_tests(KEY)).standard(sum(sizes))
    assert torch.allclose(torch.cat(tensors), 1 + 2 * stream)


def test_noise_is_float_or_refused():
    with pytest.raises(TypeError, match="float16"):
        GaussianNoise(AesCtrRng()).standard(3, torch.float16)
    GaussianNoise(AesCtrRng()).add_([], 1.0)


def test_no_other_randomness_in_the_privacy_package():
    """torch, numpy and random draw from small seeds that others may know."""
    sources = sorted(Path(securefl.privacy.__file__).parent.rglob("*.py"))
    assert len(sources) > 25
    offences = {path.name: [*other_randomness(path.read_text("utf-8"))] for path in sources}
    # What fills torch's generator from the key stream draws once, to see that it was filled.
    assert {name: found for name, found in offences.items() if found} == {"torch_rng.py": ["rand"]}


def other_randomness(source):
    names = {"rand", "randn", "randint", "randperm", "normal", "normal_", "bernoulli", "random"}
    names |= {
        "uniform_",
        "random_",
        "bernoulli_",
        "multinomial",
        "poisson",
        "rand_like",
        "manual_seed",
    }
    names |= {"randn_like", "randint_like", "default_rng", "RandomState", "Generator", "dropout"}
    names |= {"default_generator", "exponential_", "geometric_", "cauchy_", "log_normal_"}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in names:
            yield node.attr
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] in ("random", "secrets"))
        if isinstance(node, ast.ImportFrom):
            yield from (a.name for a in node.names if a.name in names or node.module == "random")


@pytest.mark.parametrize(
    "source",
    [
        "torch.randn(3)",
        "x.normal_()",
        "np.random.default_rng(0)",
        "import random",
        "from torch import randn",
        "from random import gauss",
        "torch.normal(0, 1, (2,))",
    ],
)
def test_the_scan_sees_other_randomness(source):
    assert list(other_randomness(source))


class TestPoisson:
    def test_every_unit_is_in_with_probability_q(self):
        plan = SamplingPlan(rate=0.03, steps=400, expected_batch=30.0)
        counts = torch.zeros(1000)
        sizes = []
        for batch in PoissonSampler(plan, 1000, AesCtrRng.insecure_for_tests(KEY)):
            counts[batch] += 1
            sizes.append(len(batch))
        assert len(sizes) == 400
        expected = stats.binom.pmf(range(60), 400, 0.03) * 1000
        observed = torch.bincount(counts.long(), minlength=60)[:60].numpy()
        kept = expected > 5
        chi = ((observed[kept] - expected[kept]) ** 2 / expected[kept]).sum()
        assert stats.chi2.sf(chi, kept.sum()) > 1e-3
        assert np.var(sizes) == pytest.approx(1000 * 0.03 * 0.97, rel=0.3)

    def test_the_comparison_is_exact_and_never_above_q(self):
        rate = 0.1
        threshold = int(rate * 2**64)
        signed = [v - 2**64 if v >= 2**63 else v for v in (threshold - 1, threshold, 0, 2**64 - 1)]
        plan = SamplingPlan(rate=rate, steps=1, expected_batch=1.0)
        sampler = PoissonSampler(plan, 4, _Words(signed))
        assert sampler.batch().tolist() == [0, 2]
        assert threshold / 2**64 <= rate

    def test_empty_and_full_batches(self):
        empty = SamplingPlan(rate=1e-12, steps=1, expected_batch=1.0)
        assert PoissonSampler(empty, 50, AesCtrRng()).batch().tolist() == []
        full = SamplingPlan(rate=1.0, steps=1, expected_batch=50.0)
        assert PoissonSampler(full, 50, AesCtrRng()).batch().tolist() == list(range(50))

    def test_the_number_of_steps_is_stated_not_derived_from_the_rate(self):
        """int(1 / (1 / 93)) is 92: a naive epoch would leave a step out."""
        assert int(1 / (1 / 93)) == 92
        assert SamplingPlan.of_batch(units=93, batch=1, epochs=1).steps == 93
        plan = SamplingPlan.of_batch(units=1000, batch=128, epochs=3)
        assert (plan.steps, plan.expected_batch, plan.rate) == (24, 128.0, 0.128)
        assert SamplingPlan.of_batch(units=5, batch=128, epochs=2).rate == 1.0

    @pytest.mark.parametrize(
        ("rate", "steps", "batch"), [(0, 1, 1), (1.1, 1, 1), (0.5, 0, 1), (0.5, 1, 0)]
    )
    def test_senseless_plans_are_refused(self, rate, steps, batch):
        with pytest.raises(ValueError, match=r"is|has"):
            SamplingPlan(rate=rate, steps=steps, expected_batch=batch)
        with pytest.raises(ValueError, match="positive"):
            SamplingPlan.of_batch(units=0, batch=1, epochs=1)


class _Words:
    def __init__(self, words):
        self._words = np.array(words, dtype=np.int64)

    def words(self, count):
        assert count == len(self._words)
        return self._words
