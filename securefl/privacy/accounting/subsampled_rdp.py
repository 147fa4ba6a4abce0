"""Renyi divergence of a Poisson-sampled mechanism with symmetric noise, at integer orders.

For a mechanism that adds noise with P[z] = P[-z] let e(k) bound the Renyi divergence of order k
between its outputs on neighbours. On a Poisson sample of rate q, for both directions of add or
remove one unit and every integer order a >= 2, the divergence is at most

    1 / (a - 1) * log( sum over k = 0..a of C(a, k) (1 - q)^(a - k) q^k exp((k - 1) e(k)) ),

with e(0) = e(1) = 0. This is what Mironov, Talwar and Zhang 2019, section 3.3, have for the
Gaussian, and the bound of Zhu and Wang 2019 for any mechanism without its factor of 3. One
direction is the binomial theorem. That the other is never larger rests on the symmetry and is
proved in docs/explanation/noise-shares.md.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy  # which imports its parts when they are used

Vector = npt.NDArray[np.float64]

ORDERS: tuple[int, ...] = tuple(range(2, 257))
"""Orders at which divergences are kept; consecutive, because each needs all lower ones."""


def sampled_divergences(divergences: Vector, rate: float) -> Vector:
    """Return divergences of the sampled mechanism at each of `ORDERS`, by the bound above.

    Args:
        divergences: Shape [len(ORDERS)], float64: e(2), e(3), ... of the mechanism on all units.
        rate: q in (0, 1].

    Raises:
        ValueError: If the rate is out of range or the shape another.
    """
    if divergences.shape != (len(ORDERS),):
        raise ValueError(f"divergences at {divergences.shape} orders, not {len(ORDERS)}")
    if not 0 < rate <= 1:
        raise ValueError(f"the sampling rate is {rate}, not in (0, 1]")
    if rate == 1:
        return divergences
    order, drawn = _TABLE_ORDERS, _TABLE_DRAWN
    weights = _log_binomials() + (order - drawn) * np.log1p(-rate) + drawn * np.log(rate)
    # The weights of an order sum to 1: only by how much the moments exceed 1 matters.
    excess = scipy.special.logsumexp(weights + _log_expm1((drawn - 1) * divergences), axis=1)
    return np.asarray(np.logaddexp(0.0, excess) / (order[:, 0] - 1))


_TABLE_ORDERS = np.array(ORDERS, dtype=np.float64)[:, None]
_TABLE_DRAWN = np.array(ORDERS, dtype=np.float64)[None, :]


@lru_cache(maxsize=1)
def _log_binomials() -> Vector:
    """Return logarithms of C(a, k), orders a by rows and k = 2..256; minus infinity for k > a."""
    order, drawn = np.broadcast_arrays(_TABLE_ORDERS, _TABLE_DRAWN)
    table = np.full(order.shape, -np.inf)
    some = drawn <= order
    a, k = order[some], drawn[some]
    table[some] = (
        scipy.special.gammaln(a + 1)
        - scipy.special.gammaln(k + 1)
        - scipy.special.gammaln(a - k + 1)
    )
    return table


def _log_expm1(x: Vector) -> Vector:
    """Return log(exp(x) - 1) for x >= 0 without overflow; minus infinity at zero."""
    with np.errstate(divide="ignore"):
        return np.asarray(x + np.log(-np.expm1(-x)))
