"""What a run's budget still allows: the noise of the next round, and the account it goes to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from securefl.consortium.ledger.data_custody import RefusedError
from securefl.consortium.ledger.policy import refuse
from securefl.errors import ConfigError
from securefl.federation.member.updates.run_account import RunAccount
from securefl.privacy.accounting.spent import Spending
from securefl.privacy.plan import PrivacyPlan
from securefl.privacy.round_updates import Charges


@dataclass(frozen=True)
class RunBudget:
    """One member's budget in one run.

    Attributes:
        plan: What was planned.
        charges: Where a round's price is written down before the data are touched.
    """

    plan: PrivacyPlan
    charges: Charges

    def noise_multiplier(self, number: int) -> float:
        """Return the noise of round `number` and of those after it, from what is left.

        Raises:
            RefusedError: If nothing is left of the budget.
            ConfigError: If no noise keeps to the budget at all.
        """
        charged = self.charges.charged()
        left = max(1, self.plan.rounds - number + 1)
        try:
            return self.plan.sigma(left, charged)
        except ConfigError:
            if not charged:
                raise
            more = self.plan.event(charged[-1].noise_multiplier)
            after = self.plan.epsilon([*charged, more])
            raise RefusedError(
                refuse("budget", asked=after, allowed=self.plan.budget.epsilon)
            ) from None

    def account(self, rng: str) -> RunAccount:
        """Return the account that the next round is charged to.

        Args:
            rng: Where its noise and batches come from, as implemented.
        """
        return RunAccount(
            self.plan.settings.accountant,
            self.plan.budget,
            self.charges.charged(),
            partial(self.charges.charge, clip_norm=self.plan.settings.clip_norm, rng=rng),
        )

    def spending(self) -> Spending:
        """Return what the member has spent so far."""
        return self.plan.spending(self.charges.charged())
