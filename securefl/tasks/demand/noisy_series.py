"""Demand from noisy series: input perturbation with a bound on each customer's contribution.

A training row of the forecaster is a week of a series, to which many customers contribute, so that
clipping row gradients protects no customer. Instead the series are bounded by customer and noised,
and the shared model is trained on them alone. Planned promotions enter by their number, which is
public, and not by their past sales.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from securefl.config.data import knows_customers
from securefl.data.tables import RetailerTables
from securefl.errors import DataError
from securefl.ml.batches import Examples, TensorExamples
from securefl.tasks.base import MemberData
from securefl.tasks.demand.contribution_bounds import Contributions
from securefl.tasks.demand.features import RATIO_LIMIT, features, moving_average
from securefl.tasks.demand.promotions import COMPARED, mondays
from securefl.tasks.demand.series import UNKNOWN, Days, Floats, Ints, Sales
from securefl.tasks.demand.task import DemandFacts, DemandMember, DemandTask
from securefl.tasks.demand.windows import Grid, time_cuts


@dataclass(frozen=True)
class NoisedMember(DemandMember):
    """A member with bounded contributions of each customer to its training steps.

    Attributes:
        contributions: Purchase lines up to the end of training.
        exact: The same member without noise, for the local model, which is never released.
        privacy_units: Number of customers or of purchase lines.
    """

    contributions: Contributions
    exact: DemandMember
    privacy_units: int

    @property
    def units(self) -> int:
        """See `MemberData.units`."""
        return self.privacy_units


class NoisySeriesTask(DemandTask):
    """Forecasts demand with a model that is trained on noised series alone.

    Attributes:
        exact: The task without noise.
    """

    exact: ClassVar[type[DemandTask]] = DemandTask

    def prepare(self, tables: RetailerTables, facts: DemandFacts) -> NoisedMember:
        """See `DemandTask.prepare`.

        Raises:
            DataError: If the source knows no customers who could be hidden.
        """
        unit = self.config.privacy.unit
        if unit == "customer" and not knows_customers(self.config.data):
            raise DataError(
                f"{tables.name}: no purchase has a known {unit}, whom --dp could hide; data without"
                " customers can only hide each purchase line (--unit record)"
            )
        training = facts.steps[: self._training_steps(facts).stop]
        contributions = Contributions.of(tables, facts.words, training, self.cadence)
        count = contributions.count(unit)
        member = super().prepare(tables, facts)
        exact = self.exact(self.config).prepare(tables, facts)
        return _noised(member, contributions, exact, count)

    def pool(self, members: Sequence[DemandMember], facts: DemandFacts) -> NoisedMember:
        """See `DemandTask.pool`; pooled data are for a baseline and never released."""
        noised = [noised_member(member) for member in members]
        exact = super().pool([member.exact for member in noised], facts)
        count = sum(member.privacy_units for member in noised)
        return _noised(super().pool(members, facts), noised[0].contributions, exact, count)

    @property
    def input_perturbation(self) -> NoisySeriesTask:
        """See `Task.input_perturbation`: a series' rows have no per-customer gradient."""
        return self

    def series_shape(self, member: DemandMember) -> tuple[int, int]:
        """Return the number of series and of steps, which are those of the facts."""
        return noised_member(member).contributions.shape

    def bounded_series(self, member: DemandMember) -> Floats:
        """Return the series to be noised, float64 [K, T], each privacy unit bounded."""
        privacy, contributions = self.config.privacy, noised_member(member).contributions
        if privacy.unit == "customer":
            return contributions.of_customers(privacy.clip_norm)
        return contributions.of_records(privacy.line_units, privacy.records_per_customer)

    def noised_units(
        self, member: DemandMember, facts: DemandFacts, series: Floats, deviation: float
    ) -> Examples:
        """Return training rows from noised series alone, float64 [K, T].

        Series are used whose noised mean reaches `demand.min_training_mean` and exceeds the noise;
        the largest one is always used.

        Args:
            member: Owner of the series; only its name is read.
            facts: What the members agree on.
            series: The noised series.
            deviation: Standard deviation of the noise in each cell.
        """
        mean = series.mean(axis=1)
        mean[UNKNOWN] = -np.inf
        # Selected on the noised series: a selection on the exact ones would be a second release.
        least = max(self.split.min_training_mean, self.config.privacy.least_signal * deviation)
        chosen = np.flatnonzero(mean >= min(least, mean.max()))
        grid = self._noised_grid(member.name, series, facts)
        steps = self.trained_steps(self._training_steps(facts))
        return TensorExamples(grid.cases(chosen, steps).batch)

    def _training_steps(self, facts: DemandFacts) -> range:
        cuts = self.split
        return time_cuts(
            self.cadence.warmup, len(facts.steps), cuts.validation_steps, cuts.test_steps
        )["train"]

    def _noised_grid(self, name: str, series: Floats, facts: DemandFacts) -> Grid:
        steps = facts.steps[: series.shape[1]]
        demand = np.maximum(series, 0.0)
        uplift = self._promoted(name, steps, facts)
        made = features(demand, np.maximum(series.sum(axis=0), 0.0), uplift, steps, self.cadence)
        inputs = self._inputs(name, made, facts)
        return Grid(inputs, made.level, made.baseline, demand, self.horizon)

    def _uplift(self, name: str, sold: Sales, steps: Days, facts: DemandFacts) -> Floats:
        del sold
        return self._promoted(name, steps, facts)

    def _promoted(self, name: str, steps: Days, facts: DemandFacts) -> Floats:
        """Return log ratios of the number of promoted products to past steps, [K, T, 2]."""
        counts = _promoted_products(name, steps, facts)
        past = [np.log1p(counts) - np.log1p(moving_average(counts, w)) for w in COMPARED]
        uplift: Floats = np.clip(np.stack(past, axis=2), -RATIO_LIMIT, RATIO_LIMIT)
        return uplift


def noised_member(member: MemberData) -> NoisedMember:
    """Return the member as one with bounded contributions.

    Raises:
        TypeError: If it is of another class.
    """
    if not isinstance(member, NoisedMember):
        raise TypeError(f"{member.name} has no bounded contributions")
    return member


def _noised(
    member: DemandMember, contributions: Contributions, exact: DemandMember, count: int
) -> NoisedMember:
    return NoisedMember(
        name=member.name,
        examples=member.examples,
        samples=member.samples,
        customers=0,
        cases=member.cases,
        coming=member.coming,
        keys=member.keys,
        contributions=contributions,
        exact=exact,
        privacy_units=count,
    )


def _promoted_products(name: str, steps: Days, facts: DemandFacts) -> Floats:
    """Return the number of promoted products of each key, by step, float64 [K, T]."""
    counts = np.zeros((len(facts.words.keys), len(steps)))
    if facts.promotions is None:
        return counts
    own = facts.promotions[facts.promotions["member"] == name]
    key: Ints = facts.words.of(own["product"].to_numpy(np.int64))
    week = own["week"].to_numpy().astype("datetime64[D]")
    weeks, column = np.unique(mondays(steps), return_inverse=True)
    known = np.isin(week, weeks)
    by_week = np.zeros((len(facts.words.keys), len(weeks)))
    np.add.at(by_week, (key[known], np.searchsorted(weeks, week[known])), 1.0)
    found: Floats = by_week[:, column]
    return found
