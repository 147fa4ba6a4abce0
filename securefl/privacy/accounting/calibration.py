"""From a budget to a noise multiplier, rounded to the safe side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from securefl.errors import ConfigError
from securefl.privacy.accounting.accountant import AccountantName, epsilon_of
from securefl.privacy.accounting.events import DpEvent, SampledGaussian

_LARGEST = 1e4
_RELATIVE = 1e-3


@dataclass(frozen=True)
class Budget:
    """What a member is willing to spend on a run.

    Attributes:
        epsilon: Never exceeded.
        delta: Smaller than one over the number of units.
    """

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        if not self.epsilon > 0 or not 0 < self.delta < 1:
            raise ConfigError(f"no budget: epsilon {self.epsilon}, delta {self.delta}")


def noise_multiplier(
    budget: Budget,
    *,
    sampling_rate: float,
    steps: int,
    accountant: AccountantName = "rdp",
    spent: Sequence[DpEvent] = (),
) -> float:
    """The smallest sigma, to one in a thousand, that keeps all `steps` within the budget.

    Args:
        budget: The whole budget of the data.
        sampling_rate: q.
        steps: Steps of all rounds together.
        accountant: Which one decides.
        spent: What the data have already paid for.

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
    """The smallest sigma, to one in a thousand, whose event keeps to the budget.

    By bisection, which needs no more of a mechanism than that more noise costs less.

    Args:
        event_of: What all steps together do under noise multiplier sigma.
        budget: The whole budget of the data.
        accountant: Which one decides.
        spent: What the data have already paid for.

    Returns:
        A noise multiplier whose epsilon was computed and found not to exceed the budget.

    Raises:
        ConfigError: If no noise is enough, or no accountant has a price for the event.
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
    low = high / 2
    while low > 1e-2 and fits(low):
        low, high = low / 2, low
    while high - low > _RELATIVE * high:
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high
