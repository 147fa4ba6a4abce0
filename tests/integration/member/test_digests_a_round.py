"""A model is long: a member digests each one of a round once, counted in hashed bytes."""

import sys
from collections import Counter
from hashlib import sha256

import msgpack
import numpy as np
import pytest

from securefl.federation import messages as m
from securefl.federation.aggregation.model_proofs import RoundEnd
from securefl.federation.member.model_verifier import ModelVerifier
from securefl.federation.transport import model_cache
from securefl.ml import vectors
from securefl.ml.vectors import model_digest

ROUNDS, MEMBERS = 3, 5


@pytest.fixture
def hashed(monkeypatch):
    """Coordinates that members hashed as models, by module."""
    counted, honest = Counter(), vectors.labelled_digest

    def counting(label, *parts):
        asked = sys._getframe(2).f_globals["__name__"]
        if label == vectors.MODEL_LABEL and asked.startswith("securefl.federation.member"):
            counted[asked] += parts[0].nbytes // 4
        return honest(label, *parts)

    monkeypatch.setattr(vectors, "labelled_digest", counting)
    return counted


@pytest.mark.parametrize(("mode", "digests"), [("secure", 1), ("plain", 3)])
def test_a_member_digests_the_models_of_a_round_once(mode, digests, small_run, hashed):
    """In mode secure the model that follows from each sum, and in plain that of each question.

    Beside them the agreed start and the result, five times in all.
    """
    changes = {"references": {"enabled": False}, "engine": {"workers": 1}}
    _, directory = small_run(mode=mode, rounds=ROUNDS, **changes)
    dimension = directory.start_path.stat().st_size // 4
    assert hashed.total() <= MEMBERS * dimension * (digests * ROUNDS + 5)


def test_a_model_that_differs_in_the_sign_of_a_zero_is_digested():
    """Equal numbers are not the same bits, and members sign bits."""
    verifier = object.__new__(ModelVerifier)
    shared = np.zeros(4, np.float32)
    verifier._model, verifier._end = shared, RoundEnd(1, (), model_digest(shared), b"")
    assert verifier.digest_of(shared.copy()) == model_digest(shared)
    assert verifier.digest_of(-shared) == model_digest(-shared) != model_digest(shared)
    assert verifier.digest_of(shared[:3]) == model_digest(shared[:3])


def test_a_model_that_follows_is_hashed_once_for_all_questions(monkeypatch):
    """A request names it by its digest, and the bytes here are compared with those digested."""
    model, counted = m.pack_vector(np.ones(5000, np.float32)), []

    def counting(content):
        counted.append(len(content))
        return sha256(content)

    monkeypatch.setattr(model_cache, "sha256", counting)
    models = model_cache.Models(lambda: bytes(bytearray(model)))
    request = m.encode(m.TrainMasked(round=2, shared=model, cohort=("a",), session=1))
    _, short = model_cache.named(request)
    counted.clear()
    for _ in range(3):
        assert models.lasting(short) == short
        assert m.decode(models.whole(short)).shared == model
    assert sum(counted) == len(model)


def test_attack_named_model_that_is_another():
    """The name in a request is anyone's: what is not here under it is not taken for it."""
    model, other = (m.pack_vector(np.full(5000, n, np.float32)) for n in (1, 2))
    models = model_cache.Models(lambda: model)
    request = m.encode(m.TrainMasked(round=2, shared=model, cohort=("a",), session=1))
    fields = msgpack.unpackb(request)
    short = msgpack.packb(fields | {"shared": b"", "named": sha256(other).digest()})
    for _ in range(2):
        assert models.whole(short) is None
