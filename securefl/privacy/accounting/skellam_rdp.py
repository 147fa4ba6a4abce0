"""Renyi divergences of the Skellam mechanism, sampled and composed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from securefl.privacy.accounting.events import (
    DpEvent,
    GaussianDpEvent,
    SkellamDpEvent,
    Term,
    terms_of,
)
from securefl.privacy.accounting.rdp import renyi_epsilon
from securefl.privacy.accounting.sensitivity import Sensitivity
from securefl.privacy.accounting.subsampled_rdp import ORDERS, sampled_divergences

Vector = npt.NDArray[np.float64]


def skellam_divergences(variance: float, sensitivity: Sensitivity) -> Vector:
    """Return bounds on the Renyi divergence at each of `ORDERS`, without sampling.

    Agarwal, Kairouz and Liu 2021 (arXiv:2110.04995), for integer orders a > 1, with v the
    variance and D1, D2 the sensitivities:

        a D2^2 / (2 v) + min( ((2 a - 1) D2^2 + 6 D1) / (4 v^2), 3 D1 / (2 v) ).
    """
    order = np.array(ORDERS, dtype=np.float64)
    square, l1 = sensitivity.l2**2, sensitivity.l1
    fourth = ((2 * order - 1) * square + 6 * l1) / (4 * variance**2)
    return order * square / (2 * variance) + np.minimum(fourth, 3 * l1 / (2 * variance))


def skellam_epsilon(events: Iterable[DpEvent], delta: float) -> float:
    """Return epsilon of the composition of Skellam and Gaussian events at `delta`.

    As `composed_epsilon`, of whole events.

    Raises:
        ValueError: If delta is not in (0, 1).
    """
    return composed_epsilon([term for event in events for term in terms_of(event)], delta)


def composed_epsilon(terms: Iterable[Term], delta: float) -> float:
    """Return epsilon of the composition at `delta`, over integer orders.

    Divergences add up (Mironov 2017, proposition 1); converted by Balle et al. 2020, theorem 21.

    Raises:
        ValueError: If delta is not in (0, 1).
    """
    if not 0 < delta < 1:
        raise ValueError(f"delta is {delta}, not in (0, 1)")
    total = np.zeros(len(ORDERS))
    for term in terms:
        total += term.count * step_divergences(term.mechanism, term.sampling_probability)
    return renyi_epsilon(total.tolist(), delta, ORDERS) if total.any() else 0.0


def step_divergences(mechanism: DpEvent, rate: float) -> Vector:
    """Return divergences of one step at each of `ORDERS`, its sampling included.

    Skellam by `skellam_divergences` and `sampled_divergences`, Gaussian by Mironov, Talwar and
    Zhang 2019, section 3.3.

    Raises:
        TypeError: If the mechanism is neither Gaussian nor Skellam.
    """
    match mechanism:
        case SkellamDpEvent(variance=variance, sensitivity=sensitivity):
            return _skellam_step(variance, sensitivity, rate)
        case GaussianDpEvent(noise_multiplier=sigma):
            return _gaussian_step(sigma, rate)
    raise TypeError(f"no divergence is known for {mechanism}")


@lru_cache(maxsize=256)
def _skellam_step(variance: int, sensitivity: Sensitivity, rate: float) -> Vector:
    return sampled_divergences(skellam_divergences(variance, sensitivity), rate)


@lru_cache(maxsize=256)
def _gaussian_step(sigma: float, rate: float) -> Vector:
    # The divergence without sampling is a / (2 sigma^2); with it, the sum of section 3.3.
    with np.errstate(over="ignore", divide="ignore"):
        whole = np.array(ORDERS, dtype=np.float64) / np.float64(sigma) / sigma / 2
    return (
        sampled_divergences(whole, rate)
        if np.isfinite(whole).all()
        else np.full_like(whole, np.inf)
    )
