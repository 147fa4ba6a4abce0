"""The coins of training: secret to the last bit, and torch's own generator all the same."""

import random

import torch

from securefl.config.privacy import PrivacySettings
from securefl.privacy.noise.csprng import AesCtrRng, member_stream
from securefl.privacy.noise.torch_rng import seed_torch_rng


def test_streams_of_two_keys_toss_other_coins():
    drawn = []
    for key in (b"a" * 32, b"b" * 32, b"a" * 32):
        seed_torch_rng(AesCtrRng.insecure_for_tests(key))
        drawn.append(torch.rand(1000))
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])
    assert abs(float(drawn[0].mean()) - 0.5) < 0.05


def test_states_that_agree_in_what_a_seed_keeps_toss_other_coins(monkeypatch):
    """A generator that is seeded keeps 32 bits of the seed, and forgets the rest."""
    stream = AesCtrRng.insecure_for_tests(b"c" * 32)
    words = stream.words(624)
    changed = words.copy()
    changed[500] ^= 1 << 40
    drawn = []
    for state in (words, changed):
        monkeypatch.setattr(stream, "words", lambda count, state=state: state[:count])
        seed_torch_rng(stream)
        drawn.append(torch.rand(1000))
    assert not torch.equal(drawn[0], drawn[1])


def test_the_generator_is_the_twister_of_that_state():
    stream, again = (AesCtrRng.insecure_for_tests(b"d" * 32) for _ in range(2))
    seed_torch_rng(stream)
    words = [int(word) & (2**64 - 1) for word in again.words(624)]
    twister = random.Random()
    twister.setstate((3, (*(word >> 32 for word in words), 624), None))
    found = torch.rand(700, dtype=torch.float32).tolist()
    assert found == [(twister.getrandbits(32) & 0xFFFFFF) / (1 << 24) for _ in range(700)]


def test_without_a_test_seed_no_stream_is_like_another():
    settings = PrivacySettings(dp="local", epsilon=1.0)
    first, second = (member_stream(settings, "north", 1) for _ in range(2))
    assert not first.is_deterministic
    assert (first.words(4) != second.words(4)).all()
