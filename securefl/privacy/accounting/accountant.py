"""Accountants: epsilon of composed events, exact where it is known, else a proved upper bound.

Gaussian noise without sampling has a closed form. With sampling the default is a privacy loss
distribution (`pld`), which is the tightest of those that bound both directions of add-or-remove.

An account belongs to a member's data and not to a round: a fresh one for each round reports a
round's epsilon as the run's. Its state is plain JSON, so that it survives restarts. The Gaussian
DP accountant is refused: its central limit under-reports epsilon (Gopi et al. 2021, section 1).
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any, ClassVar, Final, Literal, Self, get_args

import numpy as np

from securefl.errors import ConfigError
from securefl.privacy.accounting import pld
from securefl.privacy.accounting.analytic_gaussian import gaussian_epsilon
from securefl.privacy.accounting.events import (
    DpEvent,
    GaussianDpEvent,
    NonPrivateDpEvent,
    NoOpDpEvent,
    PrivacyEvent,
    SampledGaussian,
    SkellamDpEvent,
    Term,
    terms_of,
)
from securefl.privacy.accounting.rdp import (
    UndefinedEpsilonError,
    checked_bound,
    renyi_epsilon,
    sum_renyi,
)
from securefl.privacy.accounting.skellam_rdp import composed_epsilon

AccountantName = Literal["pld", "prv", "rdp"]
DEFAULT: Final = "pld"
"""The accountant of everything that names none."""

_POINTS = pld.FINE // 4
"""Grid points of a charge: epsilon is computed before every release, and for every sigma tried."""
_CACHED = 1 << 12


class UnsupportedEventError(ConfigError):
    """No accountant supports what a mechanism does."""

    wire_name: ClassVar[str] = "UnsupportedEventError"


class Accountant(ABC):
    """Computes the epsilon of the composition of all events added to it."""

    name: ClassVar[str]
    """The value of `privacy.accountant` that selects it."""
    leaves: ClassVar[tuple[type[DpEvent], ...]]
    """The mechanisms that it supports, besides no-op events and those without any noise."""

    def __init__(self) -> None:
        self._terms: list[Term] = []

    def supports(self, event: DpEvent) -> bool:
        """Return whether every mechanism in an event is supported by this accountant."""
        known = (*self.leaves, NoOpDpEvent, NonPrivateDpEvent)
        return all(isinstance(term.mechanism, known) for term in terms_of(event))

    def compose(self, event: DpEvent, count: int = 1) -> Self:
        """Add an event `count` times.

        Raises:
            UnsupportedEventError: If this accountant does not support the event.
        """
        # An unknown mechanism must fail here: leaving it out would report too small an epsilon.
        if not self.supports(event):
            raise UnsupportedEventError(f"accountant {self.name} has no price for {event}")
        self._terms += (term for term in terms_of(event, count) if _costs(term))
        return self

    def get_epsilon(self, delta: float) -> float:
        """Return an upper bound on epsilon of all events at `delta`; infinite without noise.

        Raises:
            ValueError: If delta is not in (0, 1).
            UndefinedEpsilonError: If the numbers are beyond the arithmetic.
        """
        if not 0 < delta < 1:
            raise ValueError(f"delta is {delta}, not in (0, 1)")
        if any(_without_noise(term.mechanism) for term in self._terms):
            return math.inf
        try:
            return checked_bound(self._epsilon(delta))
        except ArithmeticError as error:  # the square of a noise multiplier of 1e308
            raise UndefinedEpsilonError(f"epsilon of these events: {error}") from None

    @abstractmethod
    def _epsilon(self, delta: float) -> float:
        """Return the same where every event has noise."""


class RdpAccountant(Accountant):
    """Renyi accountant of sampled Gaussians.

    Divergences by Mironov, Talwar and Zhang 2019, section 3.3, added up over steps (Mironov 2017,
    proposition 1) and converted by Balle et al. 2020, theorem 21.
    """

    name = "rdp"
    leaves = (GaussianDpEvent,)

    def _epsilon(self, delta: float) -> float:
        history = _merged(self._terms)
        return renyi_epsilon(sum_renyi(history), delta) if history else 0.0


class PldAccountant(Accountant):
    """Privacy loss distributions of sampled Gaussians; the closed form where nothing is sampled.

    Balle and Wang 2018, theorem 8; Koskela et al. 2020 and Doroshenko et al. 2022, see `pld`. Where
    a distribution is out of reach, as for a delta below 1e-10, the Renyi bound takes its place.
    """

    name = "pld"
    leaves = (GaussianDpEvent,)

    def _epsilon(self, delta: float) -> float:
        history = _merged(self._terms)
        exact = _without_sampling(history, delta)
        return _distribution_epsilon(history, delta) if exact is None else exact


class PrvAccountant(Accountant):
    """Accountant of privacy random variables of sampled Gaussians, by Fourier transform.

    Gopi, Lee and Wutschitz 2021; the upper end of its interval, so that the bound is safe. The
    closed form where nothing is sampled.
    """

    name = "prv"
    leaves = (GaussianDpEvent,)

    def _epsilon(self, delta: float) -> float:
        from opacus.accountants import PRVAccountant  # torch takes seconds to import

        prv = PRVAccountant()
        prv.history = list(_merged(self._terms))
        if not prv.history:
            return 0.0
        exact = _without_sampling(prv.history, delta)
        if exact is not None:
            return exact
        # q = 1 has a privacy loss with a bounded support. Where an event costs little, Renyi orders
        # of the grid's width end early: the grid is then wider than it has to be, and no less safe.
        with np.errstate(divide="ignore"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Optimal order is the", UserWarning)
            return float(prv.get_epsilon(delta=delta))


class IntegerRdpAccountant(Accountant):
    """Renyi accountant at integer orders, the only ones at which Skellam noise has a bound."""

    name = "rdp"
    leaves = (GaussianDpEvent, SkellamDpEvent)

    def _epsilon(self, delta: float) -> float:
        return composed_epsilon(self._terms, delta)


_ACCOUNTANTS: dict[str, tuple[type[Accountant], ...]] = {
    # With Skellam noise among the events there is one accountant, whichever is configured.
    "pld": (PldAccountant, IntegerRdpAccountant),
    "prv": (PrvAccountant, IntegerRdpAccountant),
    "rdp": (RdpAccountant, IntegerRdpAccountant),
}
"""Value of `privacy.accountant` to candidates; the first that supports all events is taken."""


def accountant_for(name: AccountantName, events: Iterable[DpEvent]) -> Accountant:
    """Return a fresh accountant that supports all of `events`; none is composed yet.

    Raises:
        ConfigError: If there is no accountant of that name.
        UnsupportedEventError: If no accountant supports one of the events.
    """
    _refuse_unknown(name)
    planned = tuple(events)
    for kind in _ACCOUNTANTS[name]:
        accountant = kind()
        if all(accountant.supports(event) for event in planned):
            return accountant
    broadest = _ACCOUNTANTS[name][-1]()
    unknown = next((event for event in planned if not broadest.supports(event)), planned)
    raise UnsupportedEventError(f"privacy.dp: no accountant has a price for {unknown}")


def epsilon_of(
    events: Sequence[DpEvent], delta: float, accountant: AccountantName = DEFAULT
) -> float:
    """Return epsilon of the composition of `events` at `delta`.

    Raises:
        ConfigError: If there is no accountant of that name.
        UnsupportedEventError: If no accountant supports one of the events.
        ValueError: If delta is not in (0, 1).
    """
    chosen = accountant_for(accountant, events)
    for event in events:
        chosen.compose(event)
    return chosen.get_epsilon(delta)


class PrivacyAccountant:
    """The running total of one member's data.

    Args:
        name: "pld", "prv" or "rdp".

    Raises:
        ConfigError: If it is none of them.
    """

    def __init__(self, name: AccountantName = DEFAULT) -> None:
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
        """Add an event; call it before the data are touched (charge before use)."""
        self._events.append(event)

    def epsilon(self, delta: float, then: PrivacyEvent | None = None) -> float:
        """Return epsilon spent so far, or what it would be after `then`."""
        events = self._events if then is None else [*self._events, then]
        return epsilon_of(events, delta, self.name)

    def state(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return {"accountant": self.name, "events": [asdict(event) for event in self._events]}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Return the accountant that `state()` describes.

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
        raise ConfigError(
            "accountant gdp is refused: it under-reports epsilon; use pld, prv or rdp"
        )
    if name not in get_args(AccountantName):
        raise ConfigError(f"no accountant {name!r}: use pld, prv or rdp")


def _costs(term: Term) -> bool:
    return term.count > 0 and not isinstance(term.mechanism, NoOpDpEvent)


def _without_noise(mechanism: DpEvent) -> bool:
    silent = isinstance(mechanism, GaussianDpEvent) and mechanism.noise_multiplier == 0
    return silent or isinstance(mechanism, NonPrivateDpEvent)


History = tuple[tuple[float, float, int], ...]


def _without_sampling(history: Sequence[tuple[float, float, int]], delta: float) -> float | None:
    """Return the exact epsilon of (sigma, q, steps) if every q is 1; None if one is not."""
    if any(rate < 1 for _, rate, _ in history):
        return None
    return gaussian_epsilon([(sigma, steps) for sigma, _, steps in history], delta)


@lru_cache(maxsize=_CACHED)
def _distribution_epsilon(history: History, delta: float) -> float:
    """Return epsilon by privacy loss distributions, or by Renyi divergences out of their reach."""
    steps = {(sigma, rate): count for sigma, rate, count in history if rate < 1}
    whole = math.fsum(count / sigma / sigma for sigma, rate, count in history if rate == 1)
    if whole > 0:  # full batches are one Gaussian, whatever their number
        steps[1 / math.sqrt(whole), 1.0] = 1
    epsilon = math.inf
    if delta >= pld.SMALLEST_DELTA:
        epsilon = pld.Composition(steps, _POINTS).epsilon(steps, delta)
    return epsilon if math.isfinite(epsilon) else renyi_epsilon(sum_renyi(history), delta)


def _merged(terms: Sequence[Term]) -> History:
    """Return (sigma, q, steps) with equal mechanisms joined, in a fixed order."""
    # The composition bounds do not depend on the order, and each distinct pair costs an evaluation.
    steps: dict[tuple[float, float], int] = {}
    for term in terms:
        assert isinstance(term.mechanism, GaussianDpEvent)
        key = (term.mechanism.noise_multiplier, term.sampling_probability)
        steps[key] = steps.get(key, 0) + term.count
    return tuple(sorted((sigma, rate, count) for (sigma, rate), count in steps.items() if count))
