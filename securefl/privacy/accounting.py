"""What has been spent: sampled Gaussian steps, priced by Opacus' RDP and PRV accountants.

An accountant belongs to a member's data and not to a round: a fresh one for each round reports a
round's epsilon as the run's. Its state is plain JSON, so that it survives restarts. The Gaussian
DP accountant is refused: its central limit under-reports epsilon (Gopi et al. 2021, section 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
from opacus.accountants import PRVAccountant

from securefl.errors import ConfigError
from securefl.privacy.renyi import renyi_epsilon, sum_renyi
from securefl.privacy.skellam_renyi import SampledSkellam, skellam_epsilon

AccountantName = Literal["rdp", "prv"]


@dataclass(frozen=True)
class SampledGaussian:
    """An event: the Gaussian mechanism on a Poisson sample, `steps` times.

    Add-or-remove adjacency of one unit; sensitivity 1 in units of the clip norm.

    Attributes:
        noise_multiplier: sigma >= 0; 0 is no privacy at all.
        sampling_rate: q in (0, 1].
        steps: How many times.
        sampler: How the batches were really drawn. Only "poisson" can be priced as Poisson.

    Raises:
        ValueError: If a value is out of range, or the batches were not Poisson samples.
    """

    noise_multiplier: float
    sampling_rate: float
    steps: int
    sampler: str = "poisson"

    def __post_init__(self) -> None:
        if not (self.noise_multiplier >= 0 and math.isfinite(self.noise_multiplier)):
            raise ValueError(f"the noise multiplier is {self.noise_multiplier}")
        if not 0 < self.sampling_rate <= 1:
            raise ValueError(f"the sampling rate is {self.sampling_rate}, not in (0, 1]")
        if self.steps < 0:
            raise ValueError(f"{self.steps} steps")
        if self.sampler != "poisson" and self.sampling_rate < 1:
            raise ValueError(f"{self.sampler} batches are not amplified like Poisson samples")


PrivacyEvent = SampledGaussian | SampledSkellam
"""What an accountant can be charged for."""


def epsilon_of(
    events: Sequence[PrivacyEvent], delta: float, accountant: AccountantName = "rdp"
) -> float:
    """Epsilon of the composition of `events` at `delta`.

    RDP: Mironov, Talwar and Zhang 2019, section 3.3, converted by Balle et al. 2020, theorem 21.
    PRV: Gopi, Lee and Wutschitz 2021, by Fourier transform; the upper end of its interval.
    With Skellam noise among them, RDP at integer orders, whichever is asked.

    Raises:
        ConfigError: If the accountant is not one of the two.
        ValueError: If delta is not in (0, 1).
    """
    _refuse_unknown(accountant)
    if not 0 < delta < 1:
        raise ValueError(f"delta is {delta}, not in (0, 1)")
    if any(event.noise_multiplier == 0 and event.steps for event in events):
        return math.inf
    gaussian = [event for event in events if isinstance(event, SampledGaussian)]
    if len(gaussian) < len(events):
        return skellam_epsilon(events, delta)
    history = _merged(gaussian)
    if not history:
        return 0.0
    if accountant == "rdp":
        return renyi_epsilon(sum_renyi(history), delta)
    prv = PRVAccountant()
    prv.history = history
    with np.errstate(divide="ignore"):  # q = 1 has a privacy loss with a bounded support
        return max(0.0, float(prv.get_epsilon(delta=delta)))


class PrivacyAccountant:
    """The running total of one member's data.

    Args:
        name: "rdp" or "prv".

    Raises:
        ConfigError: If it is neither.
    """

    def __init__(self, name: AccountantName = "rdp") -> None:
        _refuse_unknown(name)
        self.name: AccountantName = name
        self._events: list[PrivacyEvent] = []

    @property
    def events(self) -> tuple[PrivacyEvent, ...]:
        """All that was charged, in order."""
        return tuple(self._events)

    @property
    def steps(self) -> int:
        """Number of steps charged."""
        return sum(event.steps for event in self._events)

    def charge(self, event: PrivacyEvent) -> None:
        """Add an event; to be called before the data are touched."""
        self._events.append(event)

    def epsilon(self, delta: float, then: PrivacyEvent | None = None) -> float:
        """Epsilon spent so far, or what it would be after `then`."""
        events = self._events if then is None else [*self._events, then]
        return epsilon_of(events, delta, self.name)

    def state(self) -> dict[str, Any]:
        """The state as JSON values."""
        return {"accountant": self.name, "events": [asdict(event) for event in self._events]}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The accountant that `state()` describes.

        Raises:
            ConfigError: If the state names another accountant.
            ValueError: If an event does not make sense.
        """
        accountant = cls(state["accountant"])
        for event in state["events"]:
            accountant.charge(SampledGaussian(**event))
        return accountant


def _refuse_unknown(name: str) -> None:
    if name == "gdp":
        raise ConfigError("accountant gdp is refused: it under-reports epsilon; use rdp or prv")
    if name not in get_args(AccountantName):
        raise ConfigError(f"no accountant {name!r}: use rdp or prv")


def _merged(events: Sequence[SampledGaussian]) -> list[tuple[float, float, int]]:
    """(sigma, q, steps) with equal mechanisms joined: composition does not mind the order."""
    steps: dict[tuple[float, float], int] = {}
    for event in events:
        key = (event.noise_multiplier, event.sampling_rate)
        steps[key] = steps.get(key, 0) + event.steps
    return [(sigma, rate, count) for (sigma, rate), count in steps.items() if count]
