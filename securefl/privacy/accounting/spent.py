"""Privacy units, and the budget spent by a member in a run."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from securefl.config.privacy import PrivacySettings, Unit
from securefl.privacy.accounting.events import PrivacyEvent, SampledGaussian

if TYPE_CHECKING:  # Opacus takes seconds to import, and only a budget needs it
    from securefl.privacy.accounting.accountant import AccountantName


UNBOUNDED: Final = "no bound below 20"
"""Shown in place of a customer's epsilon that is not known, or too large to protect."""


class PrivacyUnit(ABC):
    """One of the values of `privacy.unit`."""

    name: ClassVar[Unit]
    adjacency: ClassVar[str]
    """The neighbouring relation between data sets, in the wording of ledger entries."""
    of_whom: ClassVar[str]
    """Whom a guarantee protects, as part of a sentence."""
    presence: ClassVar[str]
    """What an observer cannot infer, as a clause after "the odds that"."""
    covers_customers: ClassVar[bool] = False
    """Whether the unit's epsilon is a customer's."""

    def records(self, settings: PrivacySettings) -> int | None:
        """Return the public bound on a customer's records; None where records are not the unit."""
        del settings
        return None

    def series_bound(self, settings: PrivacySettings) -> float:
        """Return the largest change of a released series by one unit, in Euclidean norm."""
        return settings.line_units

    @abstractmethod
    def customer_epsilon(
        self,
        events: Sequence[PrivacyEvent],
        delta: float,
        accountant: AccountantName,
        records: int | None,
    ) -> float | None:
        """Return epsilon of events for a whole customer of one retailer.

        Args:
            events: The events charged with this unit.
            delta: The customer's own delta.
            accountant: The run's accountant.
            records: Public bound on a customer's records, where records are the unit.

        Returns:
            None where no bound below 20 is known.
        """


class CustomerUnit(PrivacyUnit):
    """A customer with all data that a retailer has of them."""

    name = "customer"
    adjacency = "add or remove one customer"
    of_whom = "customer of each retailer"
    presence = "a certain customer was in its data"
    covers_customers = True

    def series_bound(self, settings: PrivacySettings) -> float:
        """See `PrivacyUnit`."""
        return settings.clip_norm

    def customer_epsilon(
        self,
        events: Sequence[PrivacyEvent],
        delta: float,
        accountant: AccountantName,
        records: int | None,
    ) -> float:
        """See `PrivacyUnit`."""
        del records
        # Opacus takes seconds to import, and runs without a budget do not need it.
        from securefl.privacy.accounting.accountant import epsilon_of

        return epsilon_of(events, delta, accountant)


class RecordUnit(PrivacyUnit):
    """A single rating or purchase line; a customer has several."""

    name = "record"
    adjacency = "add or remove one record"
    of_whom = "record of each retailer"
    presence = "a certain record was in its data"

    def records(self, settings: PrivacySettings) -> int:
        """See `PrivacyUnit`."""
        return settings.records_per_customer

    def customer_epsilon(
        self,
        events: Sequence[PrivacyEvent],
        delta: float,
        accountant: AccountantName,
        records: int | None,
    ) -> float | None:
        """See `PrivacyUnit`; a bound is known for Gaussian noise alone."""
        del accountant
        from securefl.privacy.accounting.group_privacy import customer_epsilon

        # No group bound under sampling is known for Skellam noise: better none than a wrong one.
        gaussian = [event for event in events if isinstance(event, SampledGaussian)]
        if len(gaussian) < len(events) or records is None:
            return None
        found = customer_epsilon(gaussian, delta, records)
        return found if math.isfinite(found) else None


class MemberUnit(PrivacyUnit):
    """A retailer's whole update, while the retailer itself takes part and adds its noise."""

    name = "member"
    adjacency = "one member's update or zero in its place"
    of_whom = "member"
    presence = "a certain retailer's data are in the sums"

    def customer_epsilon(
        self,
        events: Sequence[PrivacyEvent],
        delta: float,
        accountant: AccountantName,
        records: int | None,
    ) -> float:
        """See `PrivacyUnit`."""
        del records
        from securefl.privacy.accounting.accountant import epsilon_of
        from securefl.privacy.accounting.group_privacy import per_member_events

        return epsilon_of(per_member_events(events), delta, accountant)


_UNITS: Final[dict[str, PrivacyUnit]] = {
    unit.name: unit for unit in (CustomerUnit(), RecordUnit(), MemberUnit())
}


def privacy_unit(name: str) -> PrivacyUnit:
    """Return the privacy unit that a configuration or a result names.

    Raises:
        KeyError: If there is none of that name.
    """
    return _UNITS[name]


def shown_customer_epsilon(epsilon: float | None) -> str:
    """Return a customer's epsilon as text; None means that no bound is known."""
    return UNBOUNDED if epsilon is None else f"{epsilon:.3f}"


@dataclass(frozen=True)
class Spending:
    """The budget spent by one member; all of it follows from public constants.

    Attributes:
        epsilon: At the run's delta.
        noise_multiplier: sigma, the smallest of all steps.
        clip_norm: C.
        sampling_rate: q.
        steps: Private steps.
        customer_epsilon: Epsilon of the same steps for a whole customer of one retailer; None
            where no bound below 20 is known. With customers as units it is `epsilon` itself.
        two_retailers_epsilon: Under shared noise, epsilon of the same steps for a customer of two
            retailers; None without shared noise, or where no bound is known.
        score_noise: Noise multiplier of the scores; None where none were released.
    """

    epsilon: float
    noise_multiplier: float
    clip_norm: float
    sampling_rate: float
    steps: int
    customer_epsilon: float | None = None
    two_retailers_epsilon: float | None = None
    score_noise: float | None = None
