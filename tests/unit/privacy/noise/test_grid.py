"""Integer noise of single members: its law, its sensitivity, and the attack on the last bits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from scipy import stats

from securefl.errors import ConfigError
from securefl.privacy.dpsgd.optimizers import BookkeepingOptimizer
from securefl.privacy.noise.csprng import AesCtrRng
from securefl.privacy.noise.grid import SUMMATION, Grid, GridNoise

KEY = bytes(range(32))
SIZES = st.sampled_from([1, 7, 1000, 120_000, 3_000_000])
few = limits(max_examples=60, deadline=None)


def secret():
    return GridNoise(AesCtrRng.insecure_for_tests(KEY))


@pytest.mark.parametrize("sigma", [0.01, 0.5])
def test_steps_of_the_noise_have_the_discrete_law(sigma):
    """Chi-square against exp(-z^2 / 2 v), computed term by term; the variance is the stated one."""
    grid, count, noise = Grid.of(1.0, 4, sigma), 400_000, secret()
    out = np.zeros(count)
    for start in range(0, count, 4):
        noise.release(np.zeros(4), grid, out[start : start + 4])
    drawn = np.rint(out / grid.step)
    assert np.array_equal(drawn * grid.step, out)
    reach = math.ceil(9 * math.sqrt(grid.variance))
    z = np.arange(-reach, reach + 1)
    masses = np.exp(-(z**2) / (2 * grid.variance))
    edges = np.unique(np.searchsorted(masses.cumsum() / masses.sum(), np.linspace(0, 1, 60)[1:-1]))
    cells = np.split(np.arange(len(z)), edges)
    expected = np.array([masses[cell].sum() for cell in cells]) / masses.sum() * count
    counts = np.bincount((drawn + reach).astype(int), minlength=len(z))
    found = np.array([counts[cell].sum() for cell in cells])
    assert stats.chisquare(found, expected).pvalue > 1e-4


@few
@given(st.floats(1e-6, 1e6), SIZES, st.floats(0.05, 60))
def test_the_deviation_pays_for_rounding_and_summation(clip_norm, dimension, sigma):
    """sigma times all that one unit can move; and less than half a per cent more than sigma C."""
    grid = Grid.of(clip_norm, dimension, sigma)
    moved = (clip_norm + 2 * SUMMATION * clip_norm) / grid.step + math.sqrt(dimension)
    assert grid.sensitivity.l2 == pytest.approx(moved)
    assert math.sqrt(grid.variance) >= sigma * moved
    assert math.log2(grid.step).is_integer()
    inflation = max(2e-3, math.sqrt(dimension) * sigma / 2**20)
    slack = 2 / math.sqrt(grid.variance)
    assert grid.deviation <= sigma * clip_norm * (1 + inflation + 3 * SUMMATION + slack)


@few
@given(
    st.lists(st.floats(-1.0, 1.0), min_size=6, max_size=6),
    st.lists(st.floats(-1e4, 1e4), min_size=6, max_size=6),
    st.floats(1e-3, 1e3),
    st.booleans(),
)
def test_one_unit_moves_integers_by_at_most_the_sensitivity(unit, others, clip_norm, halves):
    """Whatever floats the others add up to, half a step from the next integer included."""
    grid = Grid.of(clip_norm, 6, 1.0)
    own = np.array(unit)
    own *= clip_norm / max(np.linalg.norm(own), 1e-3)
    rest = np.array(others) * clip_norm
    if halves:
        rest = (np.floor(rest / grid.step) + 0.5) * grid.step
    moved = np.rint((rest + own) / grid.step) - np.rint(rest / grid.step)
    assert np.linalg.norm(moved) <= grid.sensitivity.l2


def test_least_significant_bits_tell_nothing():
    """Mironov 2012: of a float sum plus float noise, some values occur for one sum alone.

    The former release added 32-bit noise to a 32-bit sum. The sum 1 has its noise rounded to
    multiples of 2^-24 or coarser, the sum 0 has not: a release that is no such multiple was made
    without the unit, for certain. On the grid, what one sum can become the other can as well.
    """
    noise = torch.randn(4096, generator=torch.Generator().manual_seed(1), dtype=torch.float32) / 64
    with_unit, without = 1 + noise, 0 + noise
    impossible = [_off_lattice(release.double().numpy()) for release in (with_unit - 1, without)]
    assert impossible[0] == 0
    assert impossible[1] > 1000
    grid = Grid.of(1.0, 4096, 0.02)
    for total in (1.0, 0.0, 0.1, 1 + 2.0**-40):
        out = np.full(4096, total)
        secret().release(out, grid, out)
        assert np.array_equal(np.rint(out / grid.step) * grid.step, out)


def _off_lattice(values):
    return int((np.rint(values * 2**24) != values * 2**24).sum())


def test_equal_integers_give_equal_releases():
    """Sums that round alike are released alike, bit by bit: nothing of the fraction is left."""
    grid = Grid.of(1.0, 3, 2.0)
    whole = np.array([7.0, -2.0, 0.0])
    totals = [(whole + shift) * grid.step for shift in (0, 0.3, -0.4)]
    releases = []
    for total in totals:
        out = np.empty(3, dtype=np.float32)
        secret().release(total, grid, out, scale=1 / 3)
        releases.append(out.tobytes())
    assert len(set(releases)) == 1


def test_a_step_adds_what_the_grid_says():
    """The optimizer's gradient is the mean of whole steps, and changes with the noise alone."""
    weights = torch.nn.Parameter(torch.zeros(5000))
    optimizer = BookkeepingOptimizer(
        torch.optim.SGD([weights], lr=1.0),
        noise=secret(),
        noise_multiplier=3.0,
        clip_norm=0.5,
        expected_batch=4.0,
    )
    optimizer.sum_of(weights).add_(0.1)
    optimizer.step()
    grid = Grid.of(0.5, 5000, 3.0)
    steps = weights.detach().double().numpy() * -4.0 / grid.step
    whole = np.rint(steps)
    assert np.abs(steps - whole).max() <= np.abs(whole).max() * 2.0**-23
    mean, deviation = whole.mean() * grid.step, whole.std() * grid.step
    assert deviation == pytest.approx(grid.deviation, rel=0.05)
    assert mean == pytest.approx(0.1, abs=5 * grid.deviation / math.sqrt(5000))


def test_many_units_are_summed_in_double_precision():
    """A float32 sum of the same would be off by far more than what is priced."""
    weights = torch.nn.Parameter(torch.zeros(2))
    optimizer = BookkeepingOptimizer(
        torch.optim.SGD([weights], lr=1.0),
        noise=secret(),
        noise_multiplier=0.0,
        clip_norm=1.0,
        expected_batch=1.0,
    )
    part, count = torch.tensor([0.1, 1e-4], dtype=torch.float32), 60_000
    single = torch.zeros(2, dtype=torch.float32)
    for _ in range(count):
        optimizer.sum_of(weights).add_(part)
        single += part
    exact = part.double() * count
    assert (optimizer.clipped_sum() - exact).norm() < SUMMATION / 1000
    assert (single.double() - exact).norm() > SUMMATION


def test_noise_that_cannot_be_drawn_is_refused():
    with pytest.raises(ConfigError, match="more than can be drawn"):
        Grid.of(1.0, 10**8, 100.0)
    for sigma in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ConfigError, match="is no noise"):
            Grid.of(1.0, 10, sigma)
    with pytest.raises(ValueError, match="coordinates"):
        secret().release(np.zeros(3), Grid.of(1.0, 4, 1.0), np.zeros(3))
