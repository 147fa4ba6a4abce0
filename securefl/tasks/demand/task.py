"""Demand forecasts one step ahead, for every retailer's own series.

The split is by time: the last steps are for testing, those before them for validation, the rest for
training. Every forecast is one step ahead, from all sales until then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from securefl.config.schema import RunConfig
from securefl.data.tables import RetailData, RetailerTables
from securefl.errors import DataError
from securefl.ml.batches import Batch, TensorExamples, all_units
from securefl.ml.item_rows import Axis, Block, ItemRows
from securefl.ml.metrics.forecasting import forecast_tally
from securefl.ml.metrics.spec import MetricSpec, Split
from securefl.ml.metrics.sums import MetricSums, total
from securefl.tasks.base import MemberData, Task
from securefl.tasks.demand.features import (
    TUTORIAL_INPUTS,
    Features,
    Float32s,
    feature_count,
    features,
    tutorial_inputs,
)
from securefl.tasks.demand.forecaster import (
    Forecaster,
    LogTarget,
    RawTarget,
    Target,
    TutorialForecaster,
)
from securefl.tasks.demand.promotions import COMPARED, mondays, planned_uplift, promotion_states
from securefl.tasks.demand.series import (
    CADENCES,
    UNKNOWN,
    Days,
    Floats,
    Ints,
    Sales,
    Vocabulary,
    complete_steps,
    sales,
    vocabulary,
    with_coming,
)
from securefl.tasks.demand.settings import (
    DemandSettings,
    ForecasterSettings,
    TutorialForecasterSettings,
)
from securefl.tasks.demand.windows import ForecastExamples, Grid, time_cuts


@dataclass(frozen=True)
class DemandFacts:
    """What all members agree on; none of it comes from a retailer's sales.

    Attributes:
        steps: First days of all steps, datetime64[D] [T].
        words: The keys of the series, from the agreed catalogue.
        members: The members' names, in the consortium's order.
        promotions: Displays and mailers, as in `RetailData.promotions`: they are public in shops
            and mail, so that members learn no more than a shopper of a competitor.
    """

    format_name: ClassVar[str] = "DemandFacts"
    steps: Days
    words: Vocabulary
    members: tuple[str, ...]
    promotions: pd.DataFrame | None


@dataclass(frozen=True)
class DemandMember(MemberData):
    """Training rows and evaluation cases.

    Attributes:
        cases: Retailer to split to cases: one retailer for a member, all of them for pooled data.
        coming: Retailer to the same series in the step after the data, whose demand is unknown.
        keys: Names of the series.
    """

    cases: Mapping[str, Mapping[Split, ForecastExamples]]
    coming: Mapping[str, ForecastExamples]
    keys: tuple[str, ...]


class DemandTask(Task[DemandFacts, DemandMember]):
    """Forecasts demand a week (or a day) ahead."""

    name: ClassVar[str] = "demand"
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        MetricSpec("mape", higher_is_better=False, counted_as="cases with sales"),
        MetricSpec("wape", higher_is_better=False, counted_as="units sold"),
        MetricSpec("mae", higher_is_better=False, counted_as="cases"),
        MetricSpec("rmse", higher_is_better=False, counted_as="cases", root=True),
    )

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        assert isinstance(config.cuts, DemandSettings)
        self.split = config.cuts
        self.cadence = CADENCES[self.split.step]
        self.settings = config.model

    @property
    def scored_metrics(self) -> tuple[MetricSpec, ...]:
        """See `Task.scored_metrics`."""
        return (
            *self.metrics,
            MetricSpec("mape_floor", higher_is_better=False, counted_as="cases with sales"),
            MetricSpec("wape_floor", higher_is_better=False, counted_as="units sold"),
            MetricSpec("zero_demand", higher_is_better=False, counted_as="cases"),
        )

    def agree(self, data: RetailData) -> DemandFacts:
        """Return the calendar of complete steps, the series' keys and published promotions.

        Raises:
            DataError: If too few steps are left to train on.
        """
        steps = complete_steps(data, self.cadence)
        needed = self.cadence.warmup + 1 + self.split.validation_steps + self.split.test_steps
        if len(steps) < needed:
            raise DataError(
                f"{data.source}: {len(steps)} complete {self.cadence.name}s, but {needed} needed"
            )
        words = vocabulary(data.products, self.split.level)
        return DemandFacts(steps, words, tuple(m.name for m in data.members), data.promotions)

    def prepare(self, tables: RetailerTables, facts: DemandFacts) -> DemandMember:
        """Split one retailer's series in time; its training steps alone select the series.

        A retailer whose series are all too small for evaluation still trains.

        Raises:
            DataError: If none of the retailer's series is large enough to train on, and no unit
                is to be hidden.
        """
        sold = sales(tables, facts.steps, self.cadence)
        grid = self.grid(tables.name, sold, facts)
        steps = time_cuts(
            self.cadence.warmup,
            len(facts.steps),
            self.split.validation_steps,
            self.split.test_steps,
        )
        mean = grid.demand[:, : steps["train"].stop].mean(axis=1)
        mean[UNKNOWN] = -np.inf
        least = min(self.split.min_training_mean, self.split.min_mean)
        trained = np.flatnonzero(mean >= least)
        if trained.size == 0 and not self.hides_units:
            raise DataError(
                f"{tables.name}: no {self.split.level} sells {least:g} units a {self.cadence.name} "
                "on average (demand.min_training_mean)"
            )
        units = grid.cases(trained, self.trained_steps(steps["train"])).batch
        evaluated = np.flatnonzero(mean >= self.split.min_mean)
        coming = grid.cases(evaluated, range(len(facts.steps), len(facts.steps) + 1))
        cases = {split: self.cases(grid, evaluated, span) for split, span in steps.items()}
        own = {tables.name: cases}, {tables.name: coming}
        return _member(tables.name, units, *own, facts.words.keys)

    def pool(self, members: Sequence[DemandMember], facts: DemandFacts) -> DemandMember:
        """Return all retailers' rows and cases."""
        units = zip(*(all_units(member.examples) for member in members), strict=True)
        cases = {name: splits for member in members for name, splits in member.cases.items()}
        coming = {name: case for member in members for name, case in member.coming.items()}
        joined = tuple(torch.cat(part) for part in units)
        return _member("pooled", joined, cases, coming, facts.words.keys)

    def model(self, facts: DemandFacts, customers: int) -> nn.Module:
        """Return a forecaster; all of its parameters are shared."""
        if isinstance(self.settings, TutorialForecasterSettings):
            return TutorialForecaster(self.settings, TUTORIAL_INPUTS)
        assert isinstance(self.settings, ForecasterSettings)
        inputs = feature_count(self.cadence)
        return Forecaster(self.settings, inputs, len(facts.words.keys))

    def item_rows(self, model: nn.Module, facts: DemandFacts) -> ItemRows | None:
        """See `Task.item_rows`; all that the catalogue does not list is one item more."""
        keyed: tuple[str, ...] | None = getattr(model, "keyed", None)
        if keyed is None:
            return None
        words = facts.words
        block = Block(np.append(UNKNOWN, words.index), len(words.keys))
        axes = dict.fromkeys(keyed, Axis(0, (block,)))
        return ItemRows(np.append(np.int64(-1), words.products), axes=axes)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of each row, float32 [B]."""
        inputs, series, level, demand = batch
        return self.target.loss(model(inputs, series, level), demand)

    def evaluate(
        self, model: nn.Module, member: DemandMember, split: Split
    ) -> dict[str, MetricSums]:
        """Return the errors of the model's forecasts, by retailer."""
        return {
            name: self.scored(self.forecast(model, splits[split]), splits[split])
            for name, splits in member.cases.items()
        }

    def baseline(self, member: DemandMember, split: Split) -> dict[str, MetricSums]:
        """Return the errors of each retailer's best moving average in all steps before the test.

        A window of one step, the last value, is among them.
        """
        return {name: self._best_average(splits, split) for name, splits in member.cases.items()}

    def forecast(self, model: nn.Module, cases: ForecastExamples) -> Tensor:
        """Return the model's forecasts in units, float32 [N], or quantiles [N, Q]."""
        inputs, series, level, _ = cases.batch
        return self.target.quantity(model(inputs, series, level))

    def coming(self, model: nn.Module, member: DemandMember) -> Tensor:
        """Return the forecast of the step after the data; shape as of `forecast`."""
        return self.forecast(model, member.coming[member.name])

    def scored(self, forecast: Tensor, cases: ForecastExamples) -> MetricSums:
        """Return the metric sums of forecasts in units."""
        return forecast_tally(doubles(forecast), doubles(cases.demand))

    def averaged(
        self, rule: int, past: Sequence[ForecastExamples], cases: ForecastExamples
    ) -> Tensor:
        """Return a moving average's forecasts in units; `past` are the cases before."""
        del past
        return cases.baseline[rule]

    def _best_average(self, cases: Mapping[Split, ForecastExamples], split: Split) -> MetricSums:
        deciding = self.metrics[0].name
        past = (cases["train"], cases["validation"])
        errors = [
            total(self.scored(self.averaged(rule, past, part), part) for part in past)
            for rule in range(len(self.cadence.baseline))
        ]
        best = int(np.argmin([error.values()[deciding] for error in errors]))
        return self.scored(self.averaged(best, past, cases[split]), cases[split])

    @property
    def target(self) -> Target:
        """Scale of the model's output, and its loss."""
        if isinstance(self.settings, TutorialForecasterSettings):
            return RawTarget()
        assert isinstance(self.settings, ForecasterSettings)
        return LogTarget(self.settings.huber_delta)

    @property
    def horizon(self) -> int:
        """Number of steps that a forecast covers."""
        return 1

    def trained_steps(self, steps: range) -> range:
        """Return the training steps whose whole horizon lies within the training steps."""
        return range(steps.start, steps.stop - self.horizon + 1)

    def cases(self, grid: Grid, series: Ints, steps: range) -> ForecastExamples:
        """Return the evaluation cases of some series (int64 [S]) over a span of steps."""
        return grid.cases(series, steps)

    def grid(self, name: str, sold: Sales, facts: DemandFacts) -> Grid:
        """Return all series at all steps and at the one after them."""
        steps, sold = with_coming(facts.steps, self.cadence), sold.with_coming()
        demand = sold.by_key(facts.words)
        uplift = self.planned(name, sold, steps, facts)
        return self.grid_of(name, (demand, sold.units.sum(axis=0), uplift), steps, facts)

    def planned(self, name: str, sold: Sales, steps: Days, facts: DemandFacts) -> Floats:
        """Return the effect of promotions, float64 [K, T, 2]; of unplanned last steps 0."""
        uplift = self._uplift(name, sold, steps, facts)
        if not _planned(facts.promotions, steps[-1]):
            uplift[:, -1] = 0.0
        return uplift

    def grid_of(
        self, name: str, known: tuple[Floats, Floats, Floats], steps: Days, facts: DemandFacts
    ) -> Grid:
        """Return series at some steps.

        Args:
            name: The retailer.
            known: Demand [K, T], units of the whole retailer [T] and effect of promotions
                [K, T, 2], float64.
            steps: First days of the steps, datetime64[D] [T].
            facts: What the members agree on.
        """
        demand, whole, uplift = known
        made = features(demand, whole, uplift, steps, self.cadence)
        inputs = self._inputs(name, made, facts)
        return Grid(inputs, made.level, made.baseline, demand, self.horizon)

    def _inputs(self, name: str, made: Features, facts: DemandFacts) -> Float32s:
        """Return the configured model's inputs, float32 [K, T, F]."""
        if not isinstance(self.settings, TutorialForecasterSettings):
            return made.inputs
        series, steps, _ = made.inputs.shape
        row = tutorial_inputs(steps, facts.members.index(name), self.cadence)
        return np.broadcast_to(row, (series, steps, row.shape[1]))

    def _uplift(self, name: str, sold: Sales, steps: Days, facts: DemandFacts) -> Floats:
        keys = len(facts.words.keys)
        if facts.promotions is None:
            return np.zeros((keys, len(steps), len(COMPARED)))
        own = facts.promotions[facts.promotions["member"] == name]
        state = promotion_states(own, sold.products, steps)
        return planned_uplift(sold, state, facts.words.of(sold.products), keys)


def _planned(promotions: pd.DataFrame | None, step: np.datetime64) -> bool:
    """Return whether any promotion of a step is known."""
    if promotions is None:
        return False
    week = mondays(np.array([step]))[0]
    return bool((promotions["week"].to_numpy().astype("datetime64[D]") == week).any())


def _member(
    name: str,
    units: Batch,
    cases: Mapping[str, Mapping[Split, ForecastExamples]],
    coming: Mapping[str, ForecastExamples],
    keys: tuple[str, ...],
) -> DemandMember:
    rows, examples = len(units[0]), TensorExamples(units)
    return DemandMember(
        name, examples, samples=rows, customers=0, cases=cases, coming=coming, keys=keys
    )


def doubles(values: Tensor) -> Floats:
    """Return the values as float64, on the CPU."""
    found: Floats = values.detach().cpu().double().numpy()
    return found
