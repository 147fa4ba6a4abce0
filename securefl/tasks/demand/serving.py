"""Forecasts of the coming steps, from what a member serves after a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from securefl.data.tables import RetailerTables
from securefl.errors import InputError
from securefl.ml.metrics.spec import Split
from securefl.ml.metrics.sums import MetricSums
from securefl.tasks.base import AnyTask
from securefl.tasks.common.held_out import HeldOut
from securefl.tasks.common.learner import LocalProblem
from securefl.tasks.common.serving import (
    Graph,
    OwnPart,
    Request,
    ServedModel,
    Verb,
    load_rows,
    parts_of_cases,
)
from securefl.tasks.demand.graph import forecast_graph
from securefl.tasks.demand.held_out import held_out_forecasts
from securefl.tasks.demand.personalized import (
    PersonalizedMember,
    PrivateDemandTask,
    personalized_member,
)
from securefl.tasks.demand.quantile_task import QuantileTask
from securefl.tasks.demand.series import Cadence, Days, Floats, Ints, Known, sales, steps_until
from securefl.tasks.demand.task import DemandFacts, DemandMember, DemandTask, doubles
from securefl.tasks.demand.windows import ForecastExamples

_INTERVAL: Final = 0.8
"""Probability that a band holds where no other is asked for."""


@dataclass(frozen=True)
class LocalForecaster:
    """A member's local forecaster, and how much of the shared one is mixed in.

    Attributes:
        model: The local forecaster.
        share: Weight of the shared one.
    """

    model: nn.Module
    share: float


class ServedForecaster(ServedModel):
    """Forecasts a member's series.

    Args:
        task: The task.
        facts: What the members agreed on.
        model: The shared forecaster.
        series: Keys of the series that the run evaluated, int64 [S].
        own: The local forecaster; None where the shared one is served alone.
    """

    verb: ClassVar[Verb] = "forecast"
    options: ClassVar[frozenset[str]] = frozenset({"as_of", "horizon", "interval"})
    use: ClassVar[str] = "Units of each of the retailer's series in the coming weeks or days."
    limits: ClassVar[tuple[str, ...]] = (
        "It was trained to look one step ahead; further steps are forecast from forecasts.",
        "Bands come from past errors of all series together, and hold while errors stay alike.",
        "Sales are taken for demand: what ran out of stock was asked for more than it sold.",
    )
    task: DemandTask
    facts: DemandFacts

    def __init__(
        self,
        task: AnyTask,
        facts: DemandFacts,
        model: nn.Module,
        series: Ints,
        own: LocalForecaster | None,
    ) -> None:
        super().__init__(task, facts, model)
        self.series, self.own = series, own

    @classmethod
    def of_member(cls, problem: LocalProblem, model: nn.Module) -> Self:
        """See `ServedModel`."""
        task, member = problem.task, problem.data
        assert isinstance(member, DemandMember)
        own = None
        if isinstance(task, PrivateDemandTask):
            personal = personalized_member(member)
            share = task.chosen_share(model, personal, member.name)
            own = LocalForecaster(personal.local, share)
        series = member.coming[member.name].batch[1].numpy()
        return cls(task, problem.facts, model, series, own)

    @classmethod
    def opened(cls, task: AnyTask, facts: Any, model: nn.Module, own: OwnPart) -> Self:  # noqa: ANN401
        """See `ServedModel`."""
        tensors = dict(own.tensors)
        series = tensors.pop("series").numpy()
        if series.ndim != 1 or (len(series) and not 0 <= series.min() <= series.max()):
            raise ValueError("series are no keys")
        if len(series) and series.max() >= len(facts.words.keys):
            raise ValueError("a series has no key")
        local = None
        if isinstance(task, PrivateDemandTask):
            forecaster = task.exact(task.config).model(facts, 0)
            load_rows(forecaster, {k.removeprefix("local/"): v for k, v in tensors.items()})
            local = LocalForecaster(forecaster.eval(), float(own.settings["share"]))
        return cls(task, facts, model, series, local)

    def own_part(self) -> OwnPart:
        """See `ServedModel`."""
        tensors = {"series": torch.from_numpy(self.series)}
        if self.own is None:
            return OwnPart(tensors, {})
        state = self.own.model.state_dict()
        return OwnPart(
            tensors | {f"local/{name}": value for name, value in state.items()},
            {"share": self.own.share},
        )

    def evaluate(self, member: Any, split: Split) -> dict[str, MetricSums]:  # noqa: ANN401
        """See `ServedModel`."""
        assert isinstance(member, DemandMember)
        found = {}
        for name, splits in member.cases.items():
            exact = member.exact if isinstance(member, PersonalizedMember) else member
            pair = splits[split], exact.cases[name][split]
            found[name] = self.task.scored(self.forecast(pair), splits[split])
        return found

    def parts(self, member: Any, count: int) -> Sequence[DemandMember]:  # noqa: ANN401
        """See `ServedModel`; by series, whose errors depend on each other over time."""
        assert isinstance(member, DemandMember)
        found = parts_of_cases(member, count, _series)
        if not isinstance(member, PersonalizedMember):
            return found
        exact = parts_of_cases(member.exact, count, _series)
        return [replace(m, exact=e) for m, e in zip(found, exact, strict=True)]

    def forecast(self, cases: tuple[ForecastExamples, ForecastExamples]) -> Tensor:
        """Return forecasts in units, float32 [N] or quantiles [N, Q].

        Args:
            cases: The cases with the inputs of the shared and of the local forecaster.
        """
        if self.own is None:
            return self.task.forecast(self.model, cases[0])
        assert isinstance(self.task, PrivateDemandTask)
        return self.task.mixture(self.model, self.own.model, cases, self.own.share)

    def graph(self) -> Graph:
        """See `ServedModel`."""
        local = None if self.own is None else self.own.model
        return forecast_graph(self.task, self.facts, (self.model, local), self.forecast)

    def predict(self, tables: RetailerTables, request: Request) -> Iterator[pd.DataFrame]:
        """Yield `series`, `period_start`, `forecast`, `lower` and `upper`, see `ServedModel`.

        The steps after the first are forecast from the forecasts before them. A band is the
        forecast times quantiles of the ratios of sales to forecasts that were made as many steps
        ahead, in all steps that the model was not trained on.
        """
        known = self.known(tables, request.as_of)
        yield from self.forecasts(known, request.horizon or 1, request.interval or _INTERVAL)

    def forecasts(self, known: Known, horizon: int, interval: float) -> Iterator[pd.DataFrame]:
        """Yield a table a coming step; see `predict`.

        Raises:
            InputError: If no band can be given so far ahead, or with this probability.
        """
        if not 0 < interval < 1:
            raise InputError(f"interval is {interval:g}, not between 0 and 1")
        ratios = self._ratios(known, horizon)
        tails = (1 - interval) / 2, (1 + interval) / 2
        days = np.timedelta64(self.task.cadence.days, "D")
        for ahead, units in enumerate(self._path(known, horizon), start=1):
            low, high = np.quantile(ratios[ahead - 1], tails)
            yield pd.DataFrame(
                {
                    "series": [self.facts.words.keys[key] for key in self.series.tolist()],
                    "period_start": (known.steps[-1] + ahead * days).astype("datetime64[s]"),
                    "forecast": units,
                    "lower": np.maximum(np.expm1(np.log1p(units) + low), 0.0),
                    "upper": np.maximum(np.expm1(np.log1p(units) + high), 0.0),
                }
            )

    @torch.no_grad()
    def held_out(self, member: Any, tables: RetailerTables) -> HeldOut | None:  # noqa: ANN401
        """See `ServedModel`; a step is forecast from all sales before it."""
        del member
        return held_out_forecasts(self, tables)

    @property
    def band(self) -> float:
        """Probability that a drawn band should hold."""
        return _INTERVAL

    def drawn(self, known: Known) -> Floats:
        """Return what is drawn of the step after the known ones: see `SeriesPath`, [3 or 4, S]."""
        (table,) = self.forecasts(known, 1, self.band)
        return table[["forecast", "lower", "upper"]].to_numpy(np.float64).T

    def known(self, tables: RetailerTables, as_of: np.datetime64 | None) -> Known:
        """Return the complete steps of the data before a moment.

        Raises:
            InputError: If they are too few.
        """
        cadence, days = self.task.cadence, tables.transactions["time"].to_numpy("datetime64[D]")
        if not len(days) or not len(self.series):
            raise InputError("there is no sale, or no series that is large enough to forecast")
        end = days.max() + np.timedelta64(1, "D") if as_of is None else as_of
        steps = steps_until(self.facts.steps[0], days.min(), end, cadence)
        if len(steps) <= cadence.warmup:
            raise InputError(
                f"{len(steps)} complete {cadence.name}s are known, but a forecast needs"
                f" {cadence.warmup + 1}"
            )
        return Known(tables.name, sales(tables, steps, cadence), steps)

    def next_step(self, known: Known) -> tuple[ForecastExamples, ForecastExamples]:
        """Return the cases of the step after the known ones, for `forecast`."""
        last = len(known.steps)
        return self._one_ahead(known, range(last, last + 1))

    def _one_ahead(self, known: Known, steps: range) -> tuple[ForecastExamples, ForecastExamples]:
        """Return the cases of some steps, each from all sales before it."""
        facts = replace(self.facts, steps=known.steps)
        grids = [task.grid(known.name, known.sold, facts) for task in self._tasks()]
        cases = [grid.cases(self.series, steps) for grid in grids]
        return cases[0], cases[-1]

    def _tasks(self) -> list[DemandTask]:
        """Return the tasks that make the inputs of the shared and of the local forecaster."""
        task = self.task
        return [task, task.exact(task.config)] if isinstance(task, PrivateDemandTask) else [task]

    def _start(self, known: Known) -> tuple[Floats, Floats]:
        """Return demand by key, [K, T], and of the whole retailer, [T]."""
        return known.sold.by_key(self.facts.words), known.sold.units.sum(axis=0)

    def _cases(
        self, known: Known, demand: Floats, whole: Floats, ahead: int
    ) -> tuple[ForecastExamples, ForecastExamples]:
        """Return the cases `ahead` steps after the known ones, given demand of all before."""
        demand, whole = np.pad(demand, ((0, 0), (0, 1))), np.pad(whole, (0, 1))
        steps = _continued(known.steps, ahead, self.task.cadence)
        last = len(steps) - 1
        found = []
        for one in self._tasks():
            uplift = self._uplift(one, known, steps)
            grid = one.grid_of(known.name, (demand, whole, uplift), steps, self.facts)
            found.append(grid.cases(self.series, range(last, last + 1)))
        return found[0], found[-1]

    def _uplift(self, task: DemandTask, known: Known, steps: Days) -> Floats:
        """Return the effect of promotions, [K, T + ahead, 2], from sales that are known."""
        sold, facts = known.sold.with_coming(), self.facts
        columns = [
            task.planned(known.name, sold, np.append(known.steps, step), facts)
            for step in steps[len(known.steps) :]
        ]
        return np.concatenate([columns[0], *(column[:, -1:] for column in columns[1:])], axis=1)

    @torch.no_grad()
    def _path(self, known: Known, horizon: int) -> Iterator[Floats]:
        """Yield the forecasts of the coming steps, float64 [S] each."""
        demand, whole = self._start(known)
        for ahead in range(1, horizon + 1):
            # The first step is made as in the run, and those after it from the forecasts before.
            cases = self._cases(known, demand, whole, ahead) if ahead > 1 else self.next_step(known)
            units = self._units(self.forecast(cases))
            # What is too small to be forecast goes on as it was: its sum is part of the traffic.
            step = demand[:, -self.task.cadence.baseline[-1] :].mean(axis=1)
            step[self.series] = units
            demand = np.concatenate([demand, step[:, None]], axis=1)
            whole = np.append(whole, step.sum())
            yield units

    def _units(self, forecast: Tensor) -> Floats:
        """Return one number a case: of quantiles the median, float64 [N]."""
        if not isinstance(self.task, QuantileTask):
            return doubles(forecast)
        return doubles(forecast[:, self.task.levels.index(0.5)])

    def _ratios(self, known: Known, horizon: int) -> list[Floats]:
        """Return log ratios of sales to forecasts 1, 2, ... steps ahead, float64 [n] each.

        Raises:
            InputError: If no forecast so far ahead can be compared with sales.
        """
        first = int(np.searchsorted(known.steps, self._trained_until()))
        longest = len(known.steps) - first
        if not 1 <= horizon <= longest:
            raise InputError(
                f"horizon is {horizon}, but errors of forecasts are known for 1 to {longest}"
                f" {self.task.cadence.name}s ahead: so many ended after the training data"
            )
        demand = known.sold.by_key(self.facts.words)[self.series]
        if horizon == 1:
            return [self._first_ratios(known, demand, first)]
        ratios: list[list[Floats]] = [[] for _ in range(horizon)]
        for origin in range(first, len(known.steps)):
            reach = min(horizon, len(known.steps) - origin)
            for ahead, units in enumerate(self._path(known.until(origin), reach)):
                ratios[ahead].append(np.log1p(demand[:, origin + ahead]) - np.log1p(units))
        return [np.concatenate(part) for part in ratios]

    @torch.no_grad()
    def _first_ratios(self, known: Known, demand: Floats, first: int) -> Floats:
        """Return the log ratios one step ahead, of all steps from `first` on at once."""
        cases = self._one_ahead(known, range(first, len(known.steps)))
        units = self._units(self.forecast(cases)).reshape(len(self.series), -1)
        found: Floats = np.log1p(demand[:, first:]) - np.log1p(units)
        return found.reshape(-1)

    def _trained_until(self) -> np.datetime64:
        """Return the first day that no training has seen."""
        cuts, steps = self.task.split, self.facts.steps
        last: np.datetime64 = steps[len(steps) - cuts.validation_steps - cuts.test_steps]
        return last


def _series(cases: ForecastExamples) -> Tensor:
    """Return the series of each case, int64 [n]."""
    return cases.batch[1]


def _continued(steps: Days, ahead: int, cadence: Cadence) -> Days:
    """Return the steps and `ahead` more."""
    more = steps[-1] + np.arange(1, ahead + 1) * np.timedelta64(cadence.days, "D")
    return np.concatenate([steps, more])
