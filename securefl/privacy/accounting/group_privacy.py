"""Group privacy: a customer's epsilon where the privacy unit is another one.

Where records are the unit, a customer has several, and under shared noise a customer may be at
several retailers.

The tight bound, not epsilon times m: each of a customer's m records is sampled independently, so a
step's output shifts by at most K clip norms with K ~ Binomial(m, q), and the mixture of Gaussians
over K dominates every such customer (Ganesh 2024, arXiv:2401.10294, with Choquette-Choo et al.
2023, arXiv:2310.15526, corollary 4.7). Its Renyi divergences, both ways, are one-dimensional
integrals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy  # which imports its parts when they are used

from securefl.privacy.accounting.accountant import epsilon_of
from securefl.privacy.accounting.events import PrivacyEvent, SampledGaussian
from securefl.privacy.accounting.rdp import renyi_epsilon
from securefl.privacy.accounting.skellam_rdp import step_divergences
from securefl.privacy.accounting.subsampled_rdp import ORDERS as INTEGER_ORDERS

ORDERS: tuple[float, ...] = (
    *(1 + tenth / 10 for tenth in (0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40)),
    *(float(order) for order in (6, 7, 8, 10, 12, 14, 16, 20, 24, 32, 40, 48, 64)),
)

_TRUNCATED = 1e-12
"""Part of delta that pays for numbers of records beyond those that are integrated over."""
_REACH = 14.0
"""Standard deviations on either side of the integration range; the normal law beyond is < 1e-43."""
_LARGEST_GRID = 1 << 22
"""Largest number of integrand values of one divergence; beyond it the bound is infinite."""

Vector = npt.NDArray[np.float64]


def customer_epsilon(events: Sequence[SampledGaussian], delta: float, records: int) -> float:
    """Return epsilon at `delta` for adding or removing a customer with at most `records` records.

    Args:
        events: The events charged with a record as the unit.
        delta: The customer's own delta.
        records: m >= 1, a public bound that the member enforces.

    Returns:
        An RDP bound (Ganesh 2024, see the module); with m = 1 the record-level one. Infinite
        beyond epsilon = 20. Exact where nothing is sampled.

    Raises:
        ValueError: If `records` is not positive.
    """
    if records < 1:
        raise ValueError(f"a customer has at most {records} records")
    if all(event.sampling_rate == 1 for event in events):
        return epsilon_of([scale_sensitivity(event, records) for event in events], delta)
    return _mixed_epsilon([(event, records) for event in events], delta)


def shared_epsilon(charges: Sequence[tuple[PrivacyEvent, int]], delta: float) -> float:
    """Return epsilon at `delta` for adding or removing a customer at all their retailers at once.

    Under noise that retailers share, the customer is in the one sum of a step once per retailer,
    sampled independently at each: what m records are to a customer of one retailer, m retailers
    are here (docs/explanation/privacy-distributed.md, "A customer of several retailers").

    Args:
        charges: Events for a customer of one retailer, each with the number of retailers at which
            the customer is in the same sum.
        delta: Of the whole composition.

    Returns:
        An RDP bound. Infinite beyond epsilon = 20 where sums of samples are shared.
    """
    # Without sampling no mixture is needed: m times the sensitivity is exact, and cheaper.
    if all(count == 1 or event.sampling_rate == 1 for event, count in charges):
        return epsilon_of([_at(event, count) for event, count in charges], delta)
    return _mixed_epsilon(charges, delta)


def _at(event: PrivacyEvent, count: int) -> PrivacyEvent:
    return event if count == 1 else scale_sensitivity(event, count)


def _mixed_epsilon(charges: Sequence[tuple[PrivacyEvent, int]], delta: float) -> float:
    """Return epsilon of a customer with several contributions a step, each sampled independently.

    Numbers of contributions that occur less than once in 10^12 / delta runs are left out of the
    integrals and paid for out of delta: at most e^epsilon times their probability.
    """
    charges = [(event, count) for event, count in charges if event.steps]
    if not charges:
        return 0.0
    if any(event.noise_multiplier == 0 for event, _ in charges):
        return math.inf
    steps = sum(event.steps for event, _ in charges)
    # Steps are rounded up to a power of two, so that a table over rounds has few distinct tails and
    # the cached divergences are used again.
    tail = delta * _TRUNCATED / (1 << (steps - 1).bit_length())
    total = np.zeros(len(ORDERS))
    for event, count in charges:
        total += event.steps * np.array(_one_step(event, count, tail))
    epsilon = renyi_epsilon(total.tolist(), 0.99 * delta, ORDERS)
    return epsilon if math.exp(min(epsilon, 700.0)) * _TRUNCATED <= 0.01 else math.inf


def _one_step(event: PrivacyEvent, count: int, tail: float) -> Sequence[float]:
    """Return divergences at `ORDERS`; at an order between integers, those of the next integer."""
    if isinstance(event, SampledGaussian):
        return _divergences(event.noise_multiplier, event.sampling_rate, count, tail)
    moved = _at(event, count)
    whole = step_divergences(moved.mechanism(), moved.sampling_rate)
    return [float(whole[math.ceil(order) - INTEGER_ORDERS[0]]) for order in ORDERS]


def per_member_events(events: Sequence[PrivacyEvent]) -> list[PrivacyEvent]:
    """Return the events for a customer of one member where whole members are the unit.

    With and without the customer the member's update is some vector of norm at most C: the sum
    moves by up to 2 C, while it moves by C if the update is replaced by zero
    (docs/explanation/privacy-distributed.md, "A whole member as the unit").
    """
    return [scale_sensitivity(event, 2) for event in events]


def scale_sensitivity(event: PrivacyEvent, times: int) -> PrivacyEvent:
    """Return the event for a unit with `times` the sensitivity, at sampling rate 1.

    It bounds a sampled one by joint convexity: given all random draws, the two sums are at most
    that far apart.
    """
    return event.scale_sensitivity(times)


@lru_cache(maxsize=64)
def _divergences(sigma: float, rate: float, records: int, tail: float) -> tuple[float, ...]:
    """Return the larger of the two Renyi divergences at each order, of one step."""
    # Half a second to import, and a run whose unit is the customer does not need it.
    from scipy.stats import binom

    above = binom.sf(np.arange(records + 1), records, rate)
    most = max(1, int(np.argmax(above <= tail)))
    shifts = np.arange(most + 1, dtype=np.float64)
    log_weights = binom.logpmf(shifts, records, rate)
    if most < records:
        log_weights[-1] = binom.logsf(most - 1, records, rate)
    return tuple(_divergence(order, sigma, shifts, log_weights) for order in ORDERS)


def _divergence(order: float, sigma: float, shifts: Vector, log_weights: Vector) -> float:
    """Return the larger of D(P || Q) and D(Q || P) for P a mixture of N(k, sigma^2), Q = N(0, ...).

    By the trapezoidal rule, whose error is exp(-2 pi a / h) for an integrand that is analytic in a
    strip of half-width a (Trefethen and Weideman 2014, section 5); the mixture has no zero
    nearer than pi sigma^2 / max k. An integral that would take too long counts as infinite.
    """
    low = -_REACH * sigma
    high = _REACH * sigma + order * shifts[-1]
    step = min(sigma / 4, sigma**2 / (2 * shifts[-1]))
    # A step that underflows is no step.
    if step == 0 or (high - low) / step * len(shifts) > _LARGEST_GRID:
        return math.inf
    grid = np.arange(low, high + step, step)
    log_q = -0.5 * (grid / sigma) ** 2
    log_ratio = scipy.special.logsumexp(
        log_weights[:, None] + (grid * shifts[:, None] - shifts[:, None] ** 2 / 2) / sigma**2,
        axis=0,
    )
    scale = np.log(step / (sigma * np.sqrt(2 * np.pi)))
    forward = scipy.special.logsumexp(log_q + order * log_ratio) + scale
    backward = scipy.special.logsumexp(log_q + (1 - order) * log_ratio) + scale
    return float(max(forward, backward, 0.0) / (order - 1))
