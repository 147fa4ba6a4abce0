"""The public rotation: a known answer, norms, its inverse, flatness."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import hadamard

from securefl_protocols.encoding.rotation import Rotation
from securefl_protocols.primitives.errors import LocalProtocolError

SEED = bytes(range(32))


def test_it_is_the_hadamard_matrix_after_signs():
    rotation = Rotation(16, SEED)
    columns = [rotation.forward(unit) for unit in np.eye(16)]
    matrix = np.array(columns).T * 4
    signs = matrix[0]
    assert set(np.abs(signs)) == {1.0}
    assert np.array_equal(matrix, hadamard(16) * signs)


def test_the_signs_are_the_keystream_of_the_seed():
    # Bit i of AES-256-CTR of the seed from counter zero is the sign of coordinate i.
    first = Rotation(8, bytes(32)).forward(np.eye(8)[0])
    assert first.tolist() == pytest.approx([1 / math.sqrt(8) * s for s in [1] * 8])
    signs = [Rotation(8, bytes(32)).forward(unit)[0] for unit in np.eye(8)]
    # The first byte of the keystream of the zero key is 0xdc (FIPS 197, AES-256 of zeros).
    assert [int(s < 0) for s in signs] == [0xDC >> bit & 1 for bit in range(8)]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3000), st.binary(min_size=32, max_size=32))
def test_it_keeps_norms_and_can_be_undone(dimension, seed):
    vector = np.random.default_rng(dimension).normal(size=dimension)
    rotation = Rotation(dimension, seed)
    rotated = rotation.forward(vector)
    assert rotated.shape == (rotation.padded,)
    assert np.linalg.norm(rotated) == pytest.approx(np.linalg.norm(vector))
    assert np.allclose(rotation.inverse(rotated), vector)


def test_a_spike_becomes_flat():
    vector = np.zeros(60_000)
    vector[17] = 5.0
    rotated = Rotation(60_000, SEED).forward(vector)
    assert np.allclose(np.abs(rotated), 5 / 256)


def test_other_shapes_and_seeds_are_refused():
    rotation = Rotation(5, SEED)
    for call in (
        lambda: Rotation(0, SEED),
        lambda: Rotation(5, SEED[:16]),
        lambda: rotation.forward(np.zeros(8)),
        lambda: rotation.inverse(np.zeros(5)),
    ):
        with pytest.raises(LocalProtocolError):
            call()
