"""A second accountant: the distribution of the privacy loss, by Google's `dp_accounting`.

It shares no code with Opacus. The loss of a step of the sampled Gaussian mechanism is put on a grid
by "Connect the dots" (Doroshenko et al. 2022, algorithm 1), in both directions of add-or-remove,
and sums of independent losses are convolutions (Koskela et al. 2020). The library's estimate is
pessimistic: what is on the grid dominates the true loss, and what is cut off counts as an infinite
one. So epsilon is an upper bound, by an error of second order in the spacing, and only the rounding
of the transforms, about 1e-16 of mass, may go the other way.

What is decided here is how fine the grid is, for a record that a cheat wrote must neither take the
auditor's memory nor break the arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache, reduce
from typing import TYPE_CHECKING

from securefl.audit.accountants.skellam_rdp import Step, renyi_epsilon

if TYPE_CHECKING:
    from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution

SMALLEST_DELTA = 1e-10
"""Below it, the rounding of the transforms is no longer negligible."""

_REACH = 9.0
"""Standard deviations of a step's outcome that its largest loss is judged by."""
_TAIL = 1e-15
"""Mass of a composed loss that may lie outside of the window, at either end."""
_POINTS = 1 << 16
"""Of the grid, from zero to the largest loss that matters."""
_LARGEST_LOSS = 300.0
_LARGEST_REACH = 2.0**14
_MOST_STEPS = 1 << 32
"""Beyond it, (1 + 1e-16)^steps is no longer one: the transforms lose mass."""
_AT_ONCE = 1 << 16
"""Steps composed in one go; the library raises the number of its points to that power."""
_KEPT = 128
"""Composed losses kept; each takes up to four megabytes."""


class Composition:
    """The losses of up to so many steps of each kind, in both directions of the adjacency.

    Args:
        most: For each kind of step, the largest number that will be asked for.
    """

    def __init__(self, most: Mapping[Step, int]) -> None:
        self._kinds = frozenset(most)
        self._spacing = _spacing(most)
        self._step = lru_cache(maxsize=_KEPT)(self._one)
        self._steps = lru_cache(maxsize=_KEPT)(self._several)

    def epsilon(self, steps: Mapping[Step, int], delta: float) -> float:
        """An upper bound of epsilon at `delta`, for adding or removing one unit.

        Args:
            steps: How many of each kind, at most what was announced.
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
        return float(whole.get_epsilon_for_delta(delta))

    def _one(self, sigma: float, rate: float) -> PrivacyLossDistribution:
        # The import takes a second, and most commands have nothing to price.
        from dp_accounting.pld.privacy_loss_distribution import (
            from_gaussian_mechanism,
        )

        return from_gaussian_mechanism(
            sigma,
            pessimistic_estimate=True,
            value_discretization_interval=self._spacing,
            sampling_prob=rate,
            use_connect_dots=True,
        )

    def _several(self, kind: Step, count: int) -> PrivacyLossDistribution:
        sigma, rate = kind
        if rate == 1:
            # Without sampling, n steps are one with the noise of a mean of n: exact, and faster.
            return self._one(sigma / math.sqrt(count), 1.0)
        return _repeated(self._step(sigma, rate), count, _TAIL)


def _repeated(loss: PrivacyLossDistribution, count: int, tail: float) -> PrivacyLossDistribution:
    """The loss of so many independent steps."""
    if count <= _AT_ONCE:
        return loss.self_compose(count, tail)
    times, rest = divmod(count, _AT_ONCE)
    # What is cut off now is cut off as many times as this is used.
    many = _repeated(loss.self_compose(_AT_ONCE, tail / times), times, tail)
    return many.compose(loss.self_compose(rest, tail), tail) if rest else many


def _spacing(most: Mapping[Step, int]) -> float:
    """A power of two that divides the largest loss that matters into about `_POINTS` points.

    Any spacing gives an upper bound. So the largest loss need only be judged, and the Renyi bound
    at delta `_TAIL` does that. Infinite where no epsilon would say anything: no window is then
    worth its memory.
    """
    useful = all(sigma * _LARGEST_LOSS >= _REACH for sigma, _ in most)
    if not useful or any(count > _MOST_STEPS for count in most.values()):
        return math.inf
    reach = renyi_epsilon(most, _TAIL)
    if reach > _LARGEST_REACH:
        return math.inf
    return 2.0 ** math.ceil(math.log2(max(reach, _TAIL) / _POINTS))
