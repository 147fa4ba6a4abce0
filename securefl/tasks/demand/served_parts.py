"""What a served forecaster is made of: own part, known sales, parts of test cases."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from securefl.tasks.demand.series import Cadence, Days, Sales
from securefl.tasks.demand.task import DemandMember


@dataclass(frozen=True)
class LocalForecaster:
    """A member's local forecaster, and how much of the shared one is mixed in.

    Attributes:
        model: The local forecaster.
        share: Weight of the shared one.
    """

    model: nn.Module
    share: float


@dataclass(frozen=True)
class Known:
    """A member's sales up to a moment.

    Attributes:
        name: The member's name.
        sold: Units sold, by product and step.
        steps: First days of the steps, datetime64[D] [T].
    """

    name: str
    sold: Sales
    steps: Days

    def until(self, count: int) -> Known:
        """Return the first `count` steps."""
        sold = Sales(self.sold.products, self.sold.units[:, :count])
        return Known(self.name, sold, self.steps[:count])


def of_part(member: DemandMember, part: int, count: int) -> DemandMember:
    """Return the member with some of its series' test cases."""
    cases = {
        name: {**splits, "test": splits["test"].at(rows)}
        for name, splits in member.cases.items()
        for rows in [(splits["test"].batch[1] % count == part).nonzero().flatten()]
    }
    return replace(member, cases=cases)


def continued(steps: Days, ahead: int, cadence: Cadence) -> Days:
    """Return the steps and `ahead` more."""
    more = steps[-1] + np.arange(1, ahead + 1) * np.timedelta64(cadence.days, "D")
    return np.concatenate([steps, more])
