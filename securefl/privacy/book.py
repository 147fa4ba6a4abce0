"""A member's account of what its data have paid for, on disk before the data are touched."""

from __future__ import annotations

import json
from pathlib import Path

from securefl.errors import InputError, RunDirectoryError
from securefl.privacy.accounting import AccountantName, PrivacyAccountant, SampledGaussian
from securefl.privacy.calibration import Budget
from securefl.tensor_files import write_atomically


class BudgetSpentError(InputError):
    """What was asked for would cost more than is left; nothing was trained."""


class PrivacyBook(PrivacyAccountant):
    """An accountant whose events outlive the process, and that refuses what it cannot afford.

    A charge is durable before it returns, so that a run that is killed between training and its
    next checkpoint has still paid for what may have left the member.

    Args:
        path: The file; what is in it already counts.
        name: "rdp" or "prv".
        budget: What must not be exceeded.

    Raises:
        RunDirectoryError: If the file is damaged.
    """

    def __init__(self, path: Path, name: AccountantName, budget: Budget) -> None:
        super().__init__(name)
        self.path = path
        self.budget = budget
        for event in _read(path):
            super().charge(event)

    def charge(self, event: SampledGaussian) -> None:
        """Write an event down; to be called before the data are touched.

        Raises:
            BudgetSpentError: If the event does not fit the budget.
        """
        after = self.epsilon(self.budget.delta, then=event)
        if after > self.budget.epsilon:
            raise BudgetSpentError(
                f"the budget is spent: epsilon would be {after:.3f} of {self.budget.epsilon:g}"
            )
        super().charge(event)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, json.dumps(self.state(), indent=2).encode())


def _read(path: Path) -> tuple[SampledGaussian, ...]:
    if not path.exists():
        return ()
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        return PrivacyAccountant.from_state(state).events
    except (ValueError, KeyError, TypeError):
        raise RunDirectoryError(f"{path} is damaged: no account of a budget") from None
