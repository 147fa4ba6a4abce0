"""A run's remaining budget: the noise of the next round, and the account that is charged."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial

from securefl.consortium.ledger.data_custody import RefusedError
from securefl.consortium.ledger.member_ledger import MemberLedger
from securefl.consortium.ledger.policy import refuse
from securefl.errors import ConfigError
from securefl.federation import messages as m
from securefl.federation.member.updates.run_account import RunAccount
from securefl.privacy.accounting.spent import Spending
from securefl.privacy.plan import PrivacyPlan
from securefl.privacy.round_updates import Charges


@dataclass(frozen=True)
class RunBudget:
    """One member's budget in one run.

    Attributes:
        plan: The run's plan.
        charges: The ledger's account; a round is charged before its data are used.
    """

    plan: PrivacyPlan
    charges: Charges

    def noise_multiplier(self, number: int) -> float:
        """Return the noise multiplier of round `number` and of later ones, from what is left.

        Raises:
            RefusedError: If nothing is left of the budget.
            ConfigError: If no noise keeps to the budget at all.
        """
        charged = self.charges.charged()
        try:
            return self.plan.round_sigma(number, charged)
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
            rng: The generator of its noise and batches, as implemented; part of the entry.
        """
        return RunAccount(
            self.plan.settings.accountant,
            self.plan.kept,
            self.charges.charged(),
            partial(self.charges.charge, clip_norm=self.plan.settings.clip_norm, rng=rng),
        )

    def spending(self) -> Spending:
        """Return what the member has spent so far."""
        return self.plan.spending(self.charges.charged())


def account_of(spending: Spending | None, ledger: MemberLedger) -> m.BudgetResponse | None:
    """Return what a member says of its budget, as it travels; None where nothing is accounted.

    Args:
        spending: What this run has spent.
        ledger: The member's ledger, for the life of the data and the member's own cap.
    """
    if spending is None:
        return None
    cap = ledger.cap
    return m.BudgetResponse(
        **asdict(spending),
        life=ledger.life_epsilon(),
        cap=cap.epsilon if cap else None,
        cap_delta=cap.delta if cap else None,
    )
