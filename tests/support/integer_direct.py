"""The privacy of integer noise in one dimension, computed from its probabilities directly.

Nothing here is a bound that a proof gave: the divergences are sums over the integers, and epsilon
is that of the composed privacy loss with every loss rounded down (Koskela et al. 2020), so that it
is never above the truth. What an accountant says of a vector of sensitivity D must not be below
what is found here for one coordinate shifted by D.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import ive, logsumexp

Vector = npt.NDArray[np.float64]

_REACH = 36.0
_GRID = 2e-3
_LEFT_OUT = 1e-13


def log_masses(law: str, variance: float, shares: int = 1) -> Vector:
    """Log probabilities of the sum of shares at -r..r, r about 36 standard deviations.

    Args:
        law: "skellam" or "discrete-gaussian".
        variance: Of all shares together.
        shares: How many; a sum of discrete Gaussians depends on it.
    """
    radius = math.ceil(_REACH * math.sqrt(variance)) + 8
    z = np.arange(-radius, radius + 1, dtype=np.float64)
    if law == "skellam":
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(ive(np.abs(z), variance)))
    share = -(z**2) / (2 * variance / shares)
    share -= logsumexp(share)
    total = share
    for _ in range(shares - 1):
        total = _log_convolution(total, share)
    return total


def _log_convolution(one: Vector, two: Vector) -> Vector:
    """Of two symmetric laws on -r..r; relative errors stay small in the tails too."""
    size, radius = len(one), len(one) // 2
    padded = np.full(size + 2 * radius, -np.inf)
    padded[radius : radius + size] = two
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)
    return np.array([logsumexp(one + window[::-1]) for window in windows])


def neighbours(masses: Vector, shift: int, rate: float) -> tuple[Vector, Vector]:
    """Log probabilities with and without the unit, on the values where both are known."""
    without = masses[shift:]
    moved = masses[: len(masses) - shift]
    known = np.isfinite(without) & np.isfinite(moved)
    without, moved = without[known], moved[known]
    if rate == 1:
        return moved, without
    return np.logaddexp(np.log1p(-rate) + without, np.log(rate) + moved), without


def direct_divergence(order: float, one: Vector, two: Vector) -> float:
    """The larger of both Renyi divergences between two laws, given as log probabilities."""
    forward = logsumexp(order * one + (1 - order) * two)
    backward = logsumexp(order * two + (1 - order) * one)
    return float(max(forward, backward) / (order - 1))


def direct_epsilon(one: Vector, two: Vector, steps: int, delta: float) -> float:
    """Epsilon of `steps` releases at `delta`, not above the truth."""
    return max(_one_way(one, two, steps, delta), _one_way(two, one, steps, delta))


def _one_way(one: Vector, two: Vector, steps: int, delta: float) -> float:
    losses, masses = _composed_loss(one, two, steps)
    # Below what the Fourier transform's rounding can add up to, nothing is claimed.
    delta += 1e-12

    def hockey_stick(epsilon: float) -> float:
        above = int(np.searchsorted(losses, epsilon, side="right"))
        return float(np.sum(masses[above:] * -np.expm1(epsilon - losses[above:])))

    low, high = 0.0, float(losses[-1])
    if hockey_stick(low) <= delta:
        return 0.0
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if hockey_stick(middle) > delta else (low, middle)
    return low


def _composed_loss(one: Vector, two: Vector, steps: int) -> tuple[Vector, Vector]:
    """Losses on a grid and their probabilities under the composition of `one`."""
    mass, loss = np.exp(one), one - two
    order = np.argsort(loss)
    inside = np.cumsum(mass[order])
    kept = order[(inside > _LEFT_OUT) & (inside < inside[-1] - _LEFT_OUT)]
    cells = np.floor(loss[kept] / _GRID).astype(np.int64)
    first = int(cells.min())
    one_step = np.bincount(cells - first, weights=mass[kept])
    size = steps * (len(one_step) - 1) + 1
    length = 1 << (size - 1).bit_length()
    composed = np.fft.irfft(np.fft.rfft(one_step, length) ** steps, length)[:size]
    losses = np.array((steps * first + np.arange(size)) * _GRID, dtype=np.float64)
    return losses, np.maximum(composed, 0.0).astype(np.float64)
