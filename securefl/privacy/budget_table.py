"""The budget table: what a run will have spent after each round, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from securefl.config.schema import RunConfig
from securefl.privacy.accounting.events import PrivacyEvent
from securefl.privacy.plan import PrivacyPlan

_MOST_ROWS = 100
"""Of a budget table: the price of each takes a tenth of a second."""


@dataclass(frozen=True)
class PlannedRound:
    """The planned state of the budget after a round.

    Attributes:
        round: Its number, from 1.
        steps: Private steps so far.
        epsilon: Spent so far.
        customer_epsilon: The same for a whole customer; None where no bound below 20 is known.
    """

    round: int
    steps: int
    epsilon: float
    customer_epsilon: float | None


@dataclass(frozen=True)
class PlannedMonth:
    """The planned state of the budget after so many runs on the same customers.

    Attributes:
        month: Number of runs, from 1; each spends the whole budget of a run.
        epsilon: Of all of them, composed exactly as one account of the data is.
        customer_epsilon: The same for a whole customer; None where no bound below 20 is known.
        two_retailers_epsilon: For a customer of two retailers under shared noise; None without it.
    """

    month: int
    epsilon: float
    customer_epsilon: float | None
    two_retailers_epsilon: float | None


@dataclass(frozen=True)
class BudgetTable:
    """Epsilon against rounds, before anything is trained.

    Attributes:
        plan: The plan of the run.
        noise_multiplier: sigma that the budget requires.
        rounds: One entry a round, or a hundred of more rounds.
        total: Epsilon of all rounds and of what is reserved beside them.
        months: The same for each run after the other on the same data; none unless asked for.
    """

    plan: PrivacyPlan
    noise_multiplier: float
    rounds: tuple[PlannedRound, ...]
    total: float
    months: tuple[PlannedMonth, ...] = ()

    @property
    def score_noise(self) -> float | None:
        """Noise multiplier of the closing scores; None where no score leaves."""
        return None if self.plan.scores is None else self.plan.scores.noise_multiplier

    @property
    def vote_noise(self) -> float | None:
        """Noise multiplier of a ballot; None where ballots cost nothing."""
        return None if self.plan.votes is None else self.plan.votes.noise_multiplier

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        settings = self.plan.settings
        return {
            "unit": settings.unit,
            "protects": self.plan.protects,
            "records_per_customer": self.plan.records_per_customer,
            "adjacency": self.plan.mechanism.adjacency,
            "mechanism": self.plan.does,
            "accountant": settings.accountant,
            "epsilon": self.plan.budget.epsilon,
            "delta": self.plan.budget.delta,
            "noise_multiplier": self.noise_multiplier,
            "clip_norm": settings.clip_norm,
            "sampling_rate": settings.sampling_rate,
            "score_noise": self.score_noise,
            "vote_noise": self.vote_noise,
            "total": self.total,
            "rounds": [vars(planned) for planned in self.rounds],
            "months": [vars(planned) for planned in self.months],
        }


def budget_table(config: RunConfig, months: int = 0) -> BudgetTable:
    """Return the budget table of a configuration.

    Args:
        config: The configuration.
        months: Number of runs, one after the other on the same customers, that are priced.

    Raises:
        ConfigError: If the run is not private, or no noise keeps to its budget.
    """
    plan = PrivacyPlan.of(config)
    event = plan.mechanism.planned_event(config, plan)
    rounds = tuple(_planned(plan, event, number) for number in _listed(plan.rounds))
    total = plan.epsilon([event, *plan.reserved])
    released = [event, *plan.reserved]
    later = tuple(_month(plan, released, number) for number in _listed(months))
    return BudgetTable(plan, event.noise_multiplier, rounds, total, later)


def _listed(count: int) -> Sequence[int]:
    """Return the numbers from 1 to `count`; of very many, some at even distances and the last."""
    rows = min(count, _MOST_ROWS)
    return [count * row // rows for row in range(1, rows + 1)]


def _month(plan: PrivacyPlan, released: Sequence[PrivacyEvent], number: int) -> PlannedMonth:
    """Return the budget after `number` runs, of each of which `released` are the events."""
    events = [event.with_steps(number * event.steps) for event in released]
    spent = plan.spending(events)
    return PlannedMonth(
        month=number,
        epsilon=spent.epsilon,
        customer_epsilon=spent.customer_epsilon,
        two_retailers_epsilon=spent.two_retailers_epsilon,
    )


def _planned(plan: PrivacyPlan, event: PrivacyEvent, number: int) -> PlannedRound:
    steps = number * plan.settings.steps
    events = [event.with_steps(steps)]
    return PlannedRound(
        round=number,
        steps=steps,
        epsilon=plan.epsilon(events),
        customer_epsilon=plan.customer_epsilon(events),
    )
