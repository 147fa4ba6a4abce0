"""The privacy plan of a run: noise, events and epsilon, before and during training.

Everything here follows from public constants, so that every member and the coordinator compute the
same; no record is read.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from securefl.config.privacy import PrivacySettings
from securefl.config.schema import RunConfig
from securefl.config.task_registry import declaration
from securefl.errors import ConfigError
from securefl.privacy.accounting.accountant import accountant_for, epsilon_of
from securefl.privacy.accounting.calibration import Budget, calibrated, check_kept
from securefl.privacy.accounting.events import PrivacyEvent
from securefl.privacy.accounting.group_privacy import shared_epsilon
from securefl.privacy.accounting.spent import Spending
from securefl.privacy.mechanisms import PrivacyMechanism, mechanism_for
from securefl.privacy.noise.shares import set_aside
from securefl.privacy.score_plan import score_event
from securefl.privacy.vote_plan import vote_event

_MOST_OF_BEFORE = 4.0
"""Largest factor by which later rounds may have more noise; more would undo what was learned."""


@dataclass(frozen=True)
class PrivacyPlan:
    """The public parameters of private training.

    Attributes:
        settings: The run's privacy settings, with a budget.
        rounds: Rounds of the run.
        budget: The budget that must not be exceeded.
        protects: The task's description of a unit.
        does: The mechanism's description of what is done to releases.
        mechanism: The privacy mechanism.
        scores: The event of the closing scores; None where none leaves.
        votes: The event of all ballots; None where they cost nothing.
    """

    settings: PrivacySettings
    rounds: int
    budget: Budget
    protects: str
    does: str
    mechanism: PrivacyMechanism
    scores: PrivacyEvent | None = None
    votes: PrivacyEvent | None = None

    @classmethod
    def of(cls, config: RunConfig) -> PrivacyPlan:
        """Return the plan of a private run.

        Raises:
            ConfigError: If the run has no budget, or no accountant supports its mechanism: that has
                to be known before anything is trained.
        """
        settings, mechanism = config.privacy, mechanism_for(config.privacy)
        if config.privacy.epsilon is None:
            raise ConfigError(
                "privacy.epsilon: a private run needs a budget (--dp local --epsilon 4)"
            )
        declared = declaration(config.task)
        if declared.releases == "series":  # a round releases its noised series once
            bound = mechanism.unit.series_bound(settings)
            released = {"sampling_rate": 1.0, "steps": 1, "clip_norm": bound}
            settings = settings.model_copy(update=released)
        step = mechanism.event(1.0, 1, settings.sampling_rate)
        accountant_for(settings.accountant, [step])
        return cls(
            settings,
            config.rounds,
            Budget(config.privacy.epsilon, settings.delta),
            declared.protects(config.model.name, settings.unit),
            mechanism.describe(declared.releases),
            mechanism,
            score_event(config),
            vote_event(config),
        )

    @property
    def reserved(self) -> tuple[PrivacyEvent, ...]:
        """Events beside training that will be charged in the run."""
        return tuple(event for event in (self.scores, self.votes) if event is not None)

    @property
    def records_per_customer(self) -> int | None:
        """Public bound on a customer's records; None where records are not the unit."""
        return self.mechanism.unit.records(self.settings)

    @property
    def agreed_units(self) -> int:
        """The number of units that the public constants stand for: expected batch over rate.

        A retailer's own number is what is hidden, so that no refusal may depend on it.
        """
        return math.ceil(self.settings.expected_batch / self.settings.sampling_rate)

    def event(self, sigma: float, rounds: int = 1) -> PrivacyEvent:
        """Return the event of `rounds` rounds under noise multiplier `sigma`."""
        steps = rounds * self.settings.steps
        return self.mechanism.event(sigma, steps, self.settings.sampling_rate)

    def epsilon(self, events: Sequence[PrivacyEvent]) -> float:
        """Return epsilon of events at the plan's delta by the plan's accountant."""
        return epsilon_of(events, self.budget.delta, self.settings.accountant)

    def customer_epsilon(self, events: Sequence[PrivacyEvent]) -> float | None:
        """Return epsilon of events for a whole customer; None where no bound below 20 is known."""
        return self.mechanism.unit.customer_epsilon(
            events, self.budget.delta, self.settings.accountant, self.records_per_customer
        )

    def sigma(self, rounds: int, spent: Sequence[PrivacyEvent] = ()) -> float:
        """Return the noise multiplier for the remaining rounds.

        Where events were charged before, their noise is kept if that keeps to the budget; a round
        that was trained twice, because the run was killed in it, is paid for by more noise in the
        others.

        Raises:
            ConfigError: If no noise keeps to the budget, or none that leaves anything to learn.
        """
        trained, everything = self.training(spent), [*spent, *self._owed(spent)]
        if trained:
            before = trained[-1].noise_multiplier
            then = [*everything, self.event(before, rounds)]
            if epsilon_of(then, self.kept.delta, self.settings.accountant) <= self.kept.epsilon:
                return before
        sigma = calibrated(
            lambda tried: self.event(tried, rounds),
            self.kept,
            accountant=self.settings.accountant,
            spent=everything,
        )
        if trained and sigma > _MOST_OF_BEFORE * trained[-1].noise_multiplier:
            raise ConfigError(
                f"the budget is spent: epsilon {self.epsilon(spent):.3f} of"
                f" {self.budget.epsilon:g}; what is left buys no useful round"
            )
        return sigma

    def check_kept(self) -> None:
        """Refuse a budget that no noise keeps to, as the first round would.

        Raises:
            ConfigError: See there.
        """
        check_kept(
            lambda tried: self.event(tried, self.rounds),
            self.kept,
            accountant=self.settings.accountant,
            spent=self.reserved,
        )

    def round_sigma(self, number: int, spent: Sequence[PrivacyEvent]) -> float:
        """Return the noise multiplier of round `number` and of later ones, from what is left.

        Calibrated to what is left, so that rounds that were charged twice (a kill after the charge)
        make later noise larger and never exceed the budget.

        Raises:
            ConfigError: As in `sigma`.
        """
        return self.sigma(max(1, self.rounds - number + 1), spent)

    @property
    def kept(self) -> Budget:
        """The budget less what the samplers' distance from their laws may cost.

        Of training, and of what is reserved beside it: each has a noise of its own.
        """
        return set_aside(self.budget, 1 + len(self.reserved))

    def training(self, events: Sequence[PrivacyEvent]) -> list[PrivacyEvent]:
        """Return the events of training among those that were charged."""
        reserved = [one.with_steps(1) for one in self.reserved]
        return [event for event in events if event.with_steps(1) not in reserved]

    def _owed(self, spent: Sequence[PrivacyEvent]) -> list[PrivacyEvent]:
        """Return what of the reserved events was not charged yet."""
        charged = Counter[PrivacyEvent]()
        for event in spent:
            charged[event.with_steps(1)] += event.steps
        left = ((one, one.steps - charged[one.with_steps(1)]) for one in self.reserved)
        return [one.with_steps(steps) for one, steps in left if steps > 0]

    def spending(self, events: Sequence[PrivacyEvent]) -> Spending:
        """Return the spending that `events` amount to."""
        trained = self.training(events)
        scored = [event.noise_multiplier for event in events if event == self.scores]
        return Spending(
            epsilon=self.epsilon(events),
            noise_multiplier=min((e.noise_multiplier for e in trained), default=0.0),
            clip_norm=self.settings.clip_norm,
            sampling_rate=self.settings.sampling_rate,
            steps=sum(event.steps for event in trained),
            score_noise=min(scored, default=None),
            customer_epsilon=self.customer_epsilon(events),
            two_retailers_epsilon=self._two_retailers_epsilon(events),
        )

    def _two_retailers_epsilon(self, events: Sequence[PrivacyEvent]) -> float | None:
        """Return epsilon for a customer of two retailers; None where no noise is shared."""
        if not self.mechanism.customers_share_noise:
            return None
        found = shared_epsilon([(event, 2) for event in events], self.budget.delta)
        return found if math.isfinite(found) else None

    def check_delta(self, name: str) -> None:
        """Refuse a delta that is too large for the agreed number of units; see `check_units`."""
        self.check_units(name, self.agreed_units)

    def check_units(self, name: str, units: int) -> None:
        """Refuse a delta that is too large for `units` privacy units; their number is agreed.

        Raises:
            ConfigError: If delta is not below 1 / units: releasing one unit outright would then be
                within the budget (Dwork and Roth 2014, section 2.3).
        """
        if units and self.budget.delta >= 1 / units:
            # Without the number, nor a delta that would fit: the text may reach other parties.
            raise ConfigError(
                f"privacy.delta: {self.budget.delta:g} is too large for {name}; it has to be"
                f" smaller than 1 over the agreed number of {self.settings.unit}s (try --delta"
                f" {self.budget.delta / 10:g})"
            )
