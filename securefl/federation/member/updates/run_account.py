"""One member's account of one run, with charge before use: training follows its ledger entry."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from securefl.consortium.ledger.data_custody import RefusedError
from securefl.consortium.ledger.policy import refuse
from securefl.privacy.accounting.accountant import AccountantName, PrivacyAccountant
from securefl.privacy.accounting.calibration import Budget
from securefl.privacy.accounting.events import PrivacyEvent


class RunAccount(PrivacyAccountant):
    """An accountant that refuses events beyond the run's budget, and writes all others first.

    Args:
        name: "pld", "prv" or "rdp".
        budget: The run's; the member's cap over the life of its data is checked by `write`.
        events: Events that were charged in this run before, for instance before a kill.
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
        """Charge an event to the ledger; to be called before the data are used.

        Raises:
            RefusedError: If the event does not fit the budget.
        """
        after = self.epsilon(self.budget.delta, then=event)
        if after > self.budget.epsilon:
            raise RefusedError(refuse("budget", asked=after, allowed=self.budget.epsilon))
        # Durable first: where the write fails, nothing was charged here and nothing is trained.
        self._write(event)
        super().charge(event)
