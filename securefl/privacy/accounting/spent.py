"""What a member has spent of a run's budget."""

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
"""In the place of a customer's epsilon that is not known, or worth nothing."""


class PrivacyUnit(ABC):
    """One of the values of `privacy.unit`."""

    name: ClassVar[Unit]
    adjacency: ClassVar[str]
    """Between which data sets the two cannot be told apart; as ledger entries say it."""
    of_whom: ClassVar[str]
    """For whom a guarantee holds, in a sentence."""
    presence: ClassVar[str]
    """What an observer can hardly tell, as a clause after "the odds that"."""
    covers_customers: ClassVar[bool] = False
    """Whether the unit's epsilon is a customer's."""

    def records(self, settings: PrivacySettings) -> int | None:
        """Public bound on a customer's records; None where no record is the unit."""
        del settings
        return None

    def series_bound(self, settings: PrivacySettings) -> float:
        """What one unit moves a released series by, in Euclidean norm."""
        return settings.line_units

    @abstractmethod
    def customer_epsilon(
        self,
        events: Sequence[PrivacyEvent],
        delta: float,
        accountant: AccountantName,
        records: int | None,
    ) -> float | None:
        """Epsilon of events for a whole customer of one retailer.

        Args:
            events: What was charged with this unit.
            delta: The customer's own delta.
            accountant: Which one the run has.
            records: Public bound on a customer's records, where records are the unit.

        Returns:
            None where no bound below 20 is known.
        """


class CustomerUnit(PrivacyUnit):
    """A customer with all that a retailer knows of them."""

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
        # Opacus takes seconds to import, and runs without a budget have no use for it.
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
    """The unit that a configuration or a result names.

    Raises:
        KeyError: If there is none of that name.
    """
    return _UNITS[name]


def shown_customer_epsilon(epsilon: float | None) -> str:
    """A customer's epsilon as text; None says that no bound is known."""
    return UNBOUNDED if epsilon is None else f"{epsilon:.3f}"


@dataclass(frozen=True)
class Spending:
    """One member's account; all of it follows from public constants.

    Attributes:
        epsilon: At the run's delta.
        noise_multiplier: sigma, the smallest of all steps.
        clip_norm: C.
        sampling_rate: q.
        steps: Private steps.
        customer_epsilon: What they come to for a whole customer of one retailer; None where no
            bound below 20 is known. With customers as units it is `epsilon` itself.
        two_retailers_epsilon: Under shared noise, what they come to for a customer of two
            retailers; None without, or where no bound is known.
    """

    epsilon: float
    noise_multiplier: float
    clip_norm: float
    sampling_rate: float
    steps: int
    customer_epsilon: float | None = None
    two_retailers_epsilon: float | None = None
