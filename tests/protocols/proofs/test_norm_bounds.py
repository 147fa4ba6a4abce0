"""The numbers that the argument for norm proofs rests on, computed; and the codec."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securefl_protocols.primitives.errors import RemoteProtocolError
from securefl_protocols.proofs.norm_terms import SLACK, NormTerms
from securefl_protocols.proofs.projections import PROJECTIONS, VARIANCE, projected

MEAN = PROJECTIONS * VARIANCE


def test_completeness():
    """A member that keeps to its norm has no proof with probability below 2^-40."""
    ratio = SLACK / MEAN
    assert PROJECTIONS / 2 * (math.log(ratio) + 1 - ratio) < -40 * math.log(2)


def laplace(rate):
    """The most that E exp(-rate Z^2) can be, of a projection Z of a vector of norm 1 / root 2."""
    normal = np.linspace(-9, 9, 8001)
    density = np.exp(-normal * normal / 2) / math.sqrt(2 * math.pi) * (normal[1] - normal[0])
    cosines = np.abs(np.cos(np.outer(np.linspace(0.02, 1, 99), normal) * math.sqrt(rate) / 2))
    powers = 8 / np.linspace(0.02, 1, 99) ** 2
    return float((density * cosines ** powers[:, None]).sum(axis=1).max())


@pytest.mark.slow
@pytest.mark.parametrize(("ratio", "bits"), [(2.5, 95), (3.0, 140), (10.0, 400)])
def test_soundness(ratio, bits):
    """How seldom a vector passes that is so many times too long, whatever vector it is."""
    allowed = SLACK / MEAN / ratio**2
    bounds = (
        PROJECTIONS * (rate / 2 * allowed + math.log(laplace(rate))) for rate in (2, 4, 8, 16)
    )
    assert min(bounds) < -bits * math.log(2)


@pytest.mark.slow
def test_projections_of_a_pair():
    """Of two equal coordinates, the worst case of many sketches, too."""
    vector = np.zeros(50, dtype=np.int32)
    vector[:2] = 1000
    sums = [
        sum(v * v for v in projected(bytes([key]) * 32, vector)) / (2 * 1000**2)
        for key in range(50)
    ]
    assert min(sums) > 0.5 * MEAN
    assert abs(np.mean(sums) - MEAN) < 0.05 * MEAN


@pytest.mark.parametrize("dtype", ["<i2", "<i4", "<i8"])
def test_projections_are_exact(dtype):
    """As Python integers say, at the ends of each width."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    info = np.iinfo(dtype)
    vector = np.array([info.min, info.max, -1, 0, 7, info.max], dtype=dtype)
    stream = Cipher(algorithms.AES(bytes(32)), modes.CTR(bytes(16))).encryptor()
    drawn = stream.update(bytes(PROJECTIONS * vector.size))
    rows = [drawn[at : at + vector.size] for at in range(0, len(drawn), vector.size)]
    exact = [
        sum((byte.bit_count() - 4) * x for byte, x in zip(row, vector.tolist(), strict=True))
        for row in rows
    ]
    assert projected(bytes(32), vector) == exact


TERMS = NormTerms.of(1.0, coordinates=9, scale=8.0, error=0.5, weight=(2, 5, 1000))


@pytest.fixture(scope="module")
def proof():
    pytest.importorskip("rbcl")
    from securefl_protocols.proofs.norm_proof import prove

    values = [*range(-100, 156), 1000 % 32, 1000 // 32]
    return prove(TERMS, bytes(32), values, 5, bytes(32))


@pytest.mark.slow
@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_codec_takes_what_it_writes_and_nothing_else(proof, data):
    """Whatever bytes are decoded are written back as they were, or are refused."""
    from securefl_protocols.proofs.norm_proof import NormProof

    written = proof.to_bytes(TERMS)
    assert NormProof.from_bytes(TERMS, written) == proof
    changed = bytearray(written)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(written) - 1))
        changed[place] = data.draw(st.integers(0, 255))
    cut = bytes(changed[: data.draw(st.sampled_from([len(written), len(written) - 1, 0]))])
    try:
        assert NormProof.from_bytes(TERMS, cut).to_bytes(TERMS) == cut
    except RemoteProtocolError:
        assert cut != written


@pytest.mark.slow
def test_sums_of_squares_modulo_the_order_are_no_proof(proof):
    """Numbers whose squares add up to little modulo the order, and that are long: refused."""
    from securefl_protocols.proofs import norm_proof
    from securefl_protocols.proofs.ristretto import ORDER

    root = pow(2, (ORDER - 1) // 4, ORDER)  # a root of -1: x^2 + (root x)^2 is nothing
    assert (root * root + 1) % ORDER == 0
    values = [1 << 100, root * (1 << 100) % ORDER, *[0] * 254, 8, 31]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(norm_proof, "_helpers", helpers_of(sum(v * v for v in values[:2]) % ORDER))
        patch.setattr(norm_proof, "_joined", clipped(norm_proof._joined))
        forged = norm_proof.prove(TERMS, bytes(32), values, 5, bytes(32))
        # The control: its equation holds, so that nothing but the checks can refuse it.
        assert norm_proof.verified(TERMS, [(bytes(32), forged)])
    assert max(map(abs, forged.checks)) > TERMS.largest_check
    with pytest.raises(OverflowError):
        forged.to_bytes(TERMS)
    short = replace(forged, checks=tuple(c % TERMS.largest_check for c in forged.checks))
    assert not norm_proof.verified(TERMS, [(bytes(32), short)])


def helpers_of(squares):
    """The bits of a member whose squares modulo the order add up to nothing."""

    def helpers(terms, values):
        weight = values[256] + 32 * values[257]
        rest = terms.bound(weight) - squares * 4**terms.shift
        numbers = (rest, terms.bound_bits), (weight, 10), (terms.largest_weight - weight, 10)
        return [number >> place & 1 for number, count in numbers for place in range(count)]

    return helpers


def clipped(joined):
    """Shows checks that are too large as if they were not, for the challenges alone."""
    return lambda terms, checks: joined(terms, [c % terms.largest_check for c in checks])
