"""One member's account of one run: nothing is trained that was not written down before."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from securefl.consortium.ledger.data_custody import RefusedError
from securefl.consortium.ledger.policy import refuse
from securefl.privacy.accounting.accountant import AccountantName, PrivacyAccountant
from securefl.privacy.accounting.calibration import Budget
from securefl.privacy.accounting.events import PrivacyEvent


class RunAccount(PrivacyAccountant):
    """An accountant that refuses what the run cannot afford, and has the rest written down first.

    Args:
        name: "rdp" or "prv".
        budget: The run's; the member's cap over the life of its data is looked at by `write`.
        events: What was charged in this run before, for instance by a process that was killed.
        write: Makes an event durable, or raises; called before the event counts.
    """

    def __init__(
        self,
        name: AccountantName,
        budget: Budget,
        events: Iterable[PrivacyEvent],
        write: Callable[[PrivacyEvent], None],
    ) -> None:
        super().__init__(name)
        for event in events:
            super().charge(event)
        self.budget = budget
        self._write = write

    def charge(self, event: PrivacyEvent) -> None:
        """Have an event written down; to be called before the data are touched.

        Raises:
            RefusedError: If the event does not fit the budget.
        """
        after = self.epsilon(self.budget.delta, then=event)
        if after > self.budget.epsilon:
            raise RefusedError(refuse("budget", asked=after, allowed=self.budget.epsilon))
        self._write(event)
        super().charge(event)
