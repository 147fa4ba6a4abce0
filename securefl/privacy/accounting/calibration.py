"""Calibration: the noise multiplier that a budget requires, rounded to the safe side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from securefl.errors import ConfigError
from securefl.privacy.accounting.accountant import DEFAULT, AccountantName, epsilon_of
from securefl.privacy.accounting.events import DpEvent, SampledGaussian

_LARGEST = 1e6
"""Largest sigma tried: a budget that needs more noise leaves nothing to learn."""
_RELATIVE = 1e-3
"""Relative width at which the search stops; its upper end is returned."""
_SMALLEST = 1e-2


@dataclass(frozen=True)
class Budget:
    """The privacy budget of a run at one member.

    Attributes:
        epsilon: Upper bound, never exceeded.
        delta: Smaller than one over the number of privacy units.
    """

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        if not self.epsilon > 0 or not 0 < self.delta < 1:
            raise ConfigError(f"invalid budget: epsilon {self.epsilon}, delta {self.delta}")


def noise_multiplier(
    budget: Budget,
    *,
    sampling_rate: float,
    steps: int,
    accountant: AccountantName = DEFAULT,
    spent: Sequence[DpEvent] = (),
) -> float:
    """Return the smallest sigma, to one in a thousand, that keeps all `steps` within the budget.

    Args:
        budget: The whole budget of the data.
        sampling_rate: q.
        steps: Steps of all rounds together.
        accountant: The accountant that decides.
        spent: Events already charged to the data.

    Returns:
        A noise multiplier whose epsilon was computed and found not to exceed the budget.

    Raises:
        ConfigError: If no noise multiplier up to a million is enough.
    """
    return calibrated(
        lambda sigma: SampledGaussian(sigma, sampling_rate, steps),
        budget,
        accountant=accountant,
        spent=spent,
    )


def calibrated(
    event_of: Callable[[float], DpEvent],
    budget: Budget,
    *,
    accountant: AccountantName = DEFAULT,
    spent: Sequence[DpEvent] = (),
) -> float:
    """Return the smallest sigma, to one in a thousand, whose event keeps to the budget.

    By interpolation between a sigma that is not enough and one that is, which assumes of a
    mechanism only that epsilon falls as the noise grows.

    Args:
        event_of: The event of all steps together under noise multiplier sigma.
        budget: The whole budget of the data.
        accountant: The accountant that decides.
        spent: Events already charged to the data.

    Returns:
        A noise multiplier whose epsilon was computed and found not to exceed the budget.

    Raises:
        ConfigError: If no noise multiplier up to a million is enough, or no accountant
            supports the event.
    """
    if not epsilon_of(spent, budget.delta, accountant) <= budget.epsilon:
        raise _unkept(budget, "what was charged before exceeds it")

    def excess(sigma: float) -> float:
        """Return epsilon over the budget; at most 1 where sigma is enough."""
        return epsilon_of([*spent, event_of(sigma)], budget.delta, accountant) / budget.epsilon

    low, high = _bracket(excess)
    if low.excess > 1 and high.excess > 1:
        raise _no_noise(budget, accountant)
    return _narrowed(excess, low, high)


def check_kept(
    event_of: Callable[[float], DpEvent],
    budget: Budget,
    *,
    accountant: AccountantName = DEFAULT,
    spent: Sequence[DpEvent] = (),
) -> None:
    """Refuse a budget that not even the largest noise keeps to; see `calibrated`.

    Raises:
        ConfigError: See there.
    """
    least = epsilon_of([*spent, event_of(_LARGEST)], budget.delta, accountant)
    if not least <= budget.epsilon:
        raise _no_noise(budget, accountant)


def _no_noise(budget: Budget, accountant: AccountantName) -> ConfigError:
    return _unkept(
        budget,
        f"the {accountant} accountant finds no noise multiplier up to {_LARGEST:,.0f} enough",
    )


@dataclass(frozen=True)
class _Tried:
    """A noise multiplier, and its epsilon as a multiple of the budget's."""

    sigma: float
    excess: float


def _unkept(budget: Budget, why: str) -> ConfigError:
    return ConfigError(f"epsilon {budget.epsilon} at delta {budget.delta} cannot be kept: {why}")


def _bracket(excess: Callable[[float], float]) -> tuple[_Tried, _Tried]:
    """Return a sigma that is not enough, or hardly any noise, and one that is enough if any is."""
    tried = _Tried(1.0, excess(1.0))
    up = tried.excess > 1
    while True:
        # For much noise, epsilon falls like 1 / sigma or faster.
        step = min(max(2.0, 1.1 * tried.excess), 64.0) if up else 0.5
        sigma = step * tried.sigma
        following = _Tried(sigma, excess(sigma))
        low, high = (tried, following) if up else (following, tried)
        if (low.excess > 1 >= high.excess) or not _SMALLEST < sigma < _LARGEST:
            return low, high
        tried = following


def _narrowed(excess: Callable[[float], float], low: _Tried, high: _Tried) -> float:
    """Return a sigma that is enough, and of which one in a thousand less is not."""
    # Invariant: `high` was computed to fit, so that what is returned never exceeds the budget.
    last = 0
    while high.sigma - low.sigma > _RELATIVE * high.sigma and low.excess > 1:
        guess = _between(low, high)
        # A guess that is right to a third of the width is enclosed by the next two. One end that
        # stays where it is, as with a curve, would take many: hence the middle every third time.
        guess *= 1 + (_RELATIVE / 3 if last % 2 else -_RELATIVE / 3)
        inside = low.sigma < guess < high.sigma and last % 3 != 2
        sigma = guess if inside else math.sqrt(low.sigma * high.sigma)
        tried = _Tried(sigma, excess(sigma))
        low, high = (low, tried) if tried.excess <= 1 else (tried, high)
        last += 1
    return high.sigma


def _between(low: _Tried, high: _Tried) -> float:
    """Return the sigma at which a power law through both would just be enough."""
    if not (math.isfinite(low.excess) and 0 < high.excess < low.excess):
        return math.sqrt(low.sigma * high.sigma)
    slope = math.log(high.excess / low.excess) / math.log(high.sigma / low.sigma)
    return float(high.sigma * high.excess ** (-1 / slope))
