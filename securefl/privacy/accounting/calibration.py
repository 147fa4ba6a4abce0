"""Calibration: the noise multiplier that a budget requires, rounded to the safe side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from securefl.errors import ConfigError
from securefl.privacy.accounting.accountant import AccountantName, epsilon_of
from securefl.privacy.accounting.events import DpEvent, SampledGaussian

_LARGEST = 1e4
"""Largest sigma tried: a budget that needs more noise leaves nothing to learn."""
_RELATIVE = 1e-3
"""Relative width at which bisection stops; its upper end is returned."""


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
    accountant: AccountantName = "rdp",
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
        ConfigError: If no noise is enough.
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
    accountant: AccountantName = "rdp",
    spent: Sequence[DpEvent] = (),
) -> float:
    """Return the smallest sigma, to one in a thousand, whose event keeps to the budget.

    By bisection, which assumes of a mechanism only that epsilon falls as the noise grows.

    Args:
        event_of: The event of all steps together under noise multiplier sigma.
        budget: The whole budget of the data.
        accountant: The accountant that decides.
        spent: Events already charged to the data.

    Returns:
        A noise multiplier whose epsilon was computed and found not to exceed the budget.

    Raises:
        ConfigError: If no noise is enough, or no accountant supports the event.
    """

    def fits(sigma: float) -> bool:
        events = [*spent, event_of(sigma)]
        return epsilon_of(events, budget.delta, accountant) <= budget.epsilon

    high = 1.0
    affordable = epsilon_of(spent, budget.delta, accountant) <= budget.epsilon
    while not (affordable and fits(high)):
        high *= 2
        if high > _LARGEST or not affordable:
            raise ConfigError(
                f"epsilon {budget.epsilon} at delta {budget.delta} cannot be kept: no noise is"
                " enough for what is left of the budget"
            )
    # Invariant: `high` was computed to fit, so that what is returned never exceeds the budget.
    low = high / 2
    while low > 1e-2 and fits(low):
        low, high = low / 2, low
    while high - low > _RELATIVE * high:
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high
