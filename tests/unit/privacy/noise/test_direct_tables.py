"""The fast sampler of local noise: the law of its tables, exactly, and what is drawn from them."""

from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from securefl.privacy.noise.csprng import AesCtrRng
from securefl.privacy.noise.direct_tables import CHUNK, DirectTables, _Table, _tables
from securefl_protocols.noise.alias_table import weights_of
from securefl_protocols.noise.discrete_gaussian import DiscreteGaussian, masses_of
from securefl_protocols.primitives.errors import LocalProtocolError

KEY = bytes(range(32))


def drawn(variance, count):
    """So many draws, int64."""
    sampler, stream, out = DirectTables(variance), AesCtrRng.insecure_for_tests(KEY), []
    for _ in range(0, count, CHUNK):
        numbers = np.zeros(CHUNK)
        sampler.add_to(numbers, stream)
        out.append(numbers)
    return np.concatenate(out)[:count].astype(np.int64)


@pytest.mark.parametrize("variance", [Fraction(1, 1 << 20), Fraction(2, 3), 30, 70_000])
def test_slots_and_residual_together_are_the_law(variance):
    """In whole numbers: no value's probability is off by more than 2^-170."""
    table = _Table(Fraction(variance))
    weights = weights_of(masses_of(Fraction(variance)))
    radius = len(weights) // 2
    slots = np.bincount(
        (table.slots[: table.full] + radius).astype(np.int64), minlength=len(weights)
    )
    left = (1 << 16) - table.full
    size = len(table.residual) // 2
    for z in range(-radius, radius + 1):
        rest = table.residual[z + size] if abs(z) <= size else 0
        found = Fraction(int(slots[z + radius]), 1 << 16) + Fraction(left * rest, 1 << 208)
        assert abs(found - Fraction(weights[z + radius], 1 << 192)) <= Fraction(1, 1 << 170)


@pytest.mark.parametrize("variance", [Fraction(2, 3), 30, 5000])
def test_draws_have_the_discrete_law(variance):
    """Chi-square against exp(-z^2 / 2 v), term by term."""
    count = 40 * CHUNK
    z = np.arange(-800, 801)
    masses = np.exp(-(z**2) / (2 * float(variance)))
    expected = masses / masses.sum() * count
    found = np.bincount(drawn(variance, count) + 800, minlength=len(z))
    often = expected >= 10
    seen = np.append(found[often], found[~often].sum())
    assert stats.chisquare(seen, np.append(expected[often], expected[~often].sum())).pvalue > 1e-4


@pytest.mark.parametrize("bits", [22, 31, 44])
def test_two_tables_make_one_law(bits):
    """Like the protocol's own sampler, which is made of other parts; finer than either stride."""
    variance = (1 << bits) - 12_345
    fine, coarse = _tables(Fraction(variance))
    stride = coarse[1]
    assert stride & (stride - 1) == 0
    assert fine[1] == 1
    found = drawn(variance, 20 * CHUNK)
    theirs = np.empty(20 * CHUNK, dtype=np.int64)
    DiscreteGaussian(variance).fill(AesCtrRng(), theirs)
    assert stats.ks_2samp(found, theirs).pvalue > 1e-4
    residues = np.bincount(found % stride, minlength=stride)
    assert stats.chisquare(residues).pvalue > 1e-4
    lags = found[1:] * (found[:-1] / variance)
    assert abs(lags.mean()) < 5 / np.sqrt(len(lags))


def test_the_residual_is_drawn_as_often_as_it_weighs():
    """Slots beyond the full ones go to the exact table, and to no value of their own."""
    table = _Table(Fraction(250_000))
    assert 0.9 < table.full / (1 << 16) < 1
    assert not table.slots[table.full :].any()


def test_an_inexact_variance_is_refused():
    for variance in (2.5, 1 << 45, 0):
        with pytest.raises(LocalProtocolError):
            DirectTables(variance)


def test_a_test_key_repeats_its_noise_and_a_secret_one_does_not():
    again = drawn(10**9, CHUNK)
    assert np.array_equal(drawn(10**9, CHUNK), again)
    numbers = np.zeros(CHUNK)
    DirectTables(10**9).add_to(numbers, AesCtrRng())
    assert (numbers == again).mean() < 0.01
