"""The independent accountant for accounts with Skellam noise: Renyi divergences.

Multi-dimensional integer noise has no one-dimensional loss distribution; the known result is a
bound on its Renyi divergences (Agarwal, Kairouz and Liu 2021). This is a second implementation from
the papers, without code of the first accountant or of Opacus. It checks their arithmetic, not the
theorem.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

Vector: TypeAlias = npt.NDArray[np.float64]
Step: TypeAlias = tuple[float, float]
"""Noise multiplier sigma > 0 and sampling rate q in (0, 1]."""

_LARGEST_ORDER = 256


class SkellamStep(NamedTuple):
    """One step with Skellam noise.

    Attributes:
        variance: Variance of the noise, in squared integer units.
        sensitivity: Euclidean sensitivity of the sum to one privacy unit.
        coordinates: Number of coordinates of the sum.
        rate: Sampling rate q in (0, 1].
    """

    variance: float
    sensitivity: float
    coordinates: int
    rate: float


AnyStep: TypeAlias = Step | SkellamStep
StepT = TypeVar("StepT", bound=AnyStep)


def renyi_epsilon(steps: Mapping[StepT, int], delta: float) -> float:
    """Return epsilon of a composition; infinite where a step has no noise.

    The divergences of independent steps add up (Mironov 2017, proposition 1), and an order a gives
    epsilon by Balle et al. 2020, theorem 21: D + ln((a - 1) / a) - (ln delta + ln a) / (a - 1).

    Args:
        steps: Number of steps by kind.
        delta: In (0, 1).
    """
    orders = np.arange(2.0, _LARGEST_ORDER + 1)
    total = np.zeros(len(orders))
    for step, count in steps.items():
        total += count * _divergences(step)
    if not total.any():
        return 0.0
    candidates = total + np.log1p(-1 / orders) - (math.log(delta) + np.log(orders)) / (orders - 1)
    finite = candidates[np.isfinite(candidates)]
    return max(0.0, float(finite.min())) if len(finite) else math.inf


@lru_cache(maxsize=256)
def _divergences(step: AnyStep) -> Vector:
    """Return the divergences of one sampled step at orders 2, 3, ..., 256."""
    orders = np.arange(2.0, _LARGEST_ORDER + 1)
    rate = step[-1]
    with np.errstate(all="ignore"):
        whole = _skellam(orders, step) if isinstance(step, SkellamStep) else _gaussian(orders, step)
        if rate == 1:
            return whole
        return np.array([_sampled(int(a), whole, rate) for a in orders])


def _gaussian(orders: Vector, step: Step) -> Vector:
    """Return the divergence of N(0, s^2) and N(1, s^2), a / (2 s^2).

    Van Erven and Harremoes 2014, equation 10.
    """
    return orders / np.float64(2 * step[0] ** 2)


def _skellam(orders: Vector, step: SkellamStep) -> Vector:
    """Return the bound of Agarwal, Kairouz and Liu 2021: the Gaussian term plus a correction.

    The L1 sensitivity is at most the squared L2 sensitivity, since |x| <= x^2 for integers, and at
    most sqrt(d) times the L2 sensitivity (Cauchy-Schwarz).
    """
    variance, norm = np.float64(step.variance), np.float64(step.sensitivity)
    absolute = min(norm * math.sqrt(step.coordinates), norm**2)
    first = 3 * absolute / (2 * variance)
    second = (2 * orders * norm**2 - norm**2 + 6 * absolute) / (2 * variance) ** 2
    further: Vector = orders * (norm**2 / variance) / 2 + np.minimum(first, second)
    return further


def _sampled(order: int, whole: Vector, rate: float) -> float:
    """Return the binomial sum of docs/explanation/noise-shares.md for one integer order.

    ln sum over k of C(a, k) (1 - q)^(a - k) q^k exp((k - 1) D_k), over a - 1.
    """
    drawn = np.arange(order + 1.0)
    chances = np.concatenate(([0.0], np.cumsum(np.log((order - drawn[:-1]) / drawn[1:]))))
    chances += (order - drawn) * math.log1p(-rate) + drawn * math.log(rate)
    moments = np.zeros(order + 1)
    moments[2:] = (drawn[2:] - 1) * whole[: order - 1]
    top = float(moments.max())
    if not math.isfinite(top):
        return math.inf
    if top < 1:
        # The chances sum to 1, so summing expm1 gives the excess over 1 without cancellation.
        return math.log1p(float(np.exp(chances) @ np.expm1(moments))) / (order - 1)
    terms = chances + moments
    highest = float(terms.max())
    return (highest + math.log(float(np.exp(terms - highest).sum()))) / (order - 1)
