"""The key stream and the Poisson sampler."""

import ast
import copy
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
from securefl.privacy.noise.grid import GridNoise

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
    first, second = (GridNoise(AesCtrRng()).noised(np.zeros(1000), 1.0, 1.0) for _ in range(2))
    assert np.mean(first == second) < 0.01


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


def test_no_other_randomness_in_the_privacy_package():
    """torch, numpy and random draw from small seeds that others may know."""
    sources = sorted(Path(securefl.privacy.__file__).parent.rglob("*.py"))
    assert len(sources) > 25
    offences = {path.name: [*other_randomness(path.read_text("utf-8"))] for path in sources}
    # What fills torch's generator from the key stream draws once, to see that it was filled.
    # Units that are made up, to check a model's layers on, are public and the same every time.
    made_up = offences.pop("synthetic_units.py")
    assert set(made_up) == {"Generator", "manual_seed", "normal_", "rand"}
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
