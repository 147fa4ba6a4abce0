"""Privacy loss distributions (PLD) of sampled Gaussian steps, composed by Fourier transforms.

It uses Google's `dp_accounting` and shares no code with Opacus. The loss of one step of the sampled
Gaussian mechanism is discretised by "Connect the dots" (Doroshenko et al. 2022, algorithm 1), in
both directions of add-or-remove; sums of independent losses are convolutions (Koskela et al. 2020).
The library's estimate is pessimistic: the discretised loss dominates the true one, and truncated
mass counts as infinite loss. Epsilon is therefore an upper bound, with an error of second order in
the grid spacing. Only the rounding of the transforms can lower it: for that a part of delta is set
aside, some thirty roundings a step.

This module chooses the grid, such that parameters from a dishonest record can neither exhaust an
auditor's memory nor break the arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache, reduce
from typing import TYPE_CHECKING, TypeAlias

from securefl.privacy.accounting.events import GaussianDpEvent, Term
from securefl.privacy.accounting.skellam_rdp import composed_epsilon

if TYPE_CHECKING:
    from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution

Step: TypeAlias = tuple[float, float]
"""Noise multiplier sigma > 0 and sampling rate q in (0, 1]."""

SMALLEST_DELTA = 1e-10
"""For a smaller delta, the rounding of the transforms is not negligible."""

_REACH = 9.0
"""Range of a step's outcome, in standard deviations, for estimating its largest loss."""
_TAIL = 1e-15
"""Mass of a composed loss that may be truncated at either end."""
FINE = 1 << 16
"""Grid points from zero to the largest relevant loss, for an auditor's figure."""
_ROUNDOFF = 2.0**-48
"""Part of delta that is set aside for the rounding of the transforms, for each step."""
_LARGEST_LOSS = 300.0
_LARGEST_REACH = 2.0**14
_MOST_STEPS = 1 << 32
"""Beyond it, (1 + 1e-16)^steps differs from 1: the transforms lose mass."""
_AT_ONCE = 1 << 16
"""Steps composed at once; the library raises the number of its points to that power."""
_KEPT = 128
"""Number of cached composed losses; each takes up to 4 MB."""
_STEPS_KEPT = 16
"""Number of cached losses of one step, for all compositions of a process: an auditor's bundles have
the same few steps."""


class Composition:
    """Composed losses for up to a given number of steps of each kind, in both directions.

    Args:
        most: Largest number of steps that will be requested, by kind of step.
        points: Grid points from zero to the largest relevant loss. With a quarter of `FINE`,
            epsilon is higher by up to 2e-4 of itself and takes a quarter of the time.
        upper: Whether losses are rounded up; if not, epsilon is a lower bound.
    """

    def __init__(self, most: Mapping[Step, int], points: int = FINE, *, upper: bool = True) -> None:
        self._kinds = frozenset(most)
        self._spacing = _spacing(most, points)
        self._upper = upper
        self._steps = lru_cache(maxsize=_KEPT)(self._several)

    def epsilon(self, steps: Mapping[Step, int], delta: float) -> float:
        """Return a bound of epsilon at `delta`, for adding or removing one unit.

        It is infinite where the distribution is out of reach, whichever bound was asked for.

        Args:
            steps: Number of steps by kind, at most what was announced.
            delta: At least `SMALLEST_DELTA`.

        Raises:
            ValueError: If delta is smaller, or a kind was not announced.
        """
        if not SMALLEST_DELTA <= delta < 1:
            raise ValueError(f"delta is {delta:g}, not between {SMALLEST_DELTA:g} and 1")
        if unknown := set(steps) - self._kinds:
            raise ValueError(f"steps of {unknown} were not announced")
        taken = [(kind, count) for kind, count in steps.items() if count]
        if not taken:
            return 0.0
        if not math.isfinite(self._spacing):
            return math.inf
        losses = (self._steps(kind, count) for kind, count in taken)
        whole = reduce(lambda one, other: one.compose(other, _TAIL), losses)
        aside = _ROUNDOFF * sum(count for (_, rate), count in taken if rate < 1)
        if aside > delta / 2:
            return math.inf
        return float(whole.get_epsilon_for_delta(delta - aside if self._upper else delta + aside))

    def _several(self, kind: Step, count: int) -> PrivacyLossDistribution:
        sigma, rate = kind
        if rate == 1:
            # Without sampling, n steps equal one step with sigma / sqrt(n): exact, and faster.
            return _of_a_step(sigma / math.sqrt(count), 1.0, self._spacing, upper=self._upper)
        step = _kept_step(sigma, rate, self._spacing, upper=self._upper)
        return _repeated(step, count, _TAIL)


def _of_a_step(
    sigma: float, rate: float, spacing: float, *, upper: bool
) -> PrivacyLossDistribution:
    # The import takes a second, and most commands compute no epsilon.
    from dp_accounting.pld.privacy_loss_distribution import (
        from_gaussian_mechanism,
    )

    return from_gaussian_mechanism(
        sigma,
        pessimistic_estimate=upper,
        value_discretization_interval=spacing,
        sampling_prob=rate,
        use_connect_dots=upper,
    )


_kept_step = lru_cache(maxsize=_STEPS_KEPT)(_of_a_step)


def _repeated(loss: PrivacyLossDistribution, count: int, tail: float) -> PrivacyLossDistribution:
    """Return the composed loss of `count` independent steps."""
    if count <= _AT_ONCE:
        return loss.self_compose(count, tail)
    times, rest = divmod(count, _AT_ONCE)
    # The mass truncated here is truncated again at each of the `times` uses.
    many = _repeated(loss.self_compose(_AT_ONCE, tail / times), times, tail)
    return many.compose(loss.self_compose(rest, tail), tail) if rest else many


def _spacing(most: Mapping[Step, int], points: int) -> float:
    """Return a power of two that divides the largest relevant loss into about `points` points.

    Any spacing gives an upper bound, so that an estimate of the largest loss is sufficient: the
    Renyi bound at delta `_TAIL`. The result is infinite where epsilon would be meaninglessly large,
    and no grid is worth its memory.
    """
    useful = all(sigma * _LARGEST_LOSS >= _REACH for sigma, _ in most)
    if not useful or any(count > _MOST_STEPS for count in most.values()):
        return math.inf
    terms = [Term(GaussianDpEvent(sigma), rate, count) for (sigma, rate), count in most.items()]
    reach = composed_epsilon(terms, _TAIL)
    if reach > _LARGEST_REACH:
        return math.inf
    return 2.0 ** math.ceil(math.log2(max(reach, _TAIL) / points))
