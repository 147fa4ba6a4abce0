"""Inventory: quantile forecasts of demand, evaluated by the cost of the stock ordered from them.

The forecaster is trained as in the task demand; the metric is the cost of a simulated stock over
held-out weeks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from scipy.special import ndtri
from torch import Tensor, nn

from securefl.config.schema import RunConfig
from securefl.data.tables import RetailerTables
from securefl.errors import ConfigError
from securefl.ml.metrics.spec import MetricSpec
from securefl.ml.metrics.sums import MetricSums
from securefl.tasks.common.serving import Request
from securefl.tasks.demand.personalized import PrivateDemandTask
from securefl.tasks.demand.quantile_task import QuantileTask
from securefl.tasks.demand.series import Floats, Ints, Known
from securefl.tasks.demand.serving import ServedForecaster
from securefl.tasks.demand.task import DemandMember, DemandTask, doubles
from securefl.tasks.demand.windows import ForecastExamples, Grid
from securefl.tasks.inventory.settings import InventorySettings
from securefl.tasks.inventory.simulation import ReorderLevels, order_levels, simulate, stock_metrics


@dataclass(frozen=True)
class StockExamples(ForecastExamples):
    """Series over consecutive weeks, the first of which are the simulation's warm-up.

    Attributes:
        sold: Units by series and week, float64 [K, T]; a case of `batch` is one of its cells.
        counted: Number of last weeks that are evaluated.
    """

    sold: Floats
    counted: int

    def at(self, rows: Tensor) -> StockExamples:
        """Return the cases of whole series; see `ForecastExamples.at`."""
        plain = super().at(rows)
        series = np.unique(rows.numpy() // self.sold.shape[1])
        return StockExamples(plain.batch, plain.baseline, self.sold[series], self.counted)


class InventoryTask(QuantileTask):
    """Orders stock from quantile forecasts.

    Raises:
        ConfigError: If the costs need a quantile outside the model's levels.
    """

    name: ClassVar[str] = "inventory"
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        MetricSpec("stock_cost", higher_is_better=False, counted_as="units asked for"),
        MetricSpec("fill_rate", higher_is_better=True, counted_as="units asked for"),
        MetricSpec("in_stock", higher_is_better=True),
        MetricSpec("left_over", higher_is_better=False, counted_as="units asked for"),
    )

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        assert isinstance(config.cuts, InventorySettings)
        self.stock = config.cuts
        level = self.stock.critical_level
        if not self.levels[0] <= level <= self.levels[-1]:
            raise ConfigError(
                f"inventory: these costs ask for the {level:.3f} quantile of demand, and"
                f" model.levels go from {self.levels[0]:g} to {self.levels[-1]:g}"
            )

    @property
    def scored_metrics(self) -> tuple[MetricSpec, ...]:
        """See `Task.scored_metrics`."""
        return self.metrics

    @property
    def horizon(self) -> int:
        """See `DemandTask.horizon`."""
        return self.stock.horizon

    def cases(self, grid: Grid, series: Ints, steps: range) -> StockExamples:
        """Return the weeks of a span, and as many before it as validate, as warm-up."""
        first = max(self.cadence.warmup, steps.start - self.split.validation_steps)
        weeks = range(min(first, steps.start), steps.stop)
        plain = grid.cases(series, weeks)
        sold = grid.demand[np.ix_(series, np.array(weeks))]
        return StockExamples(plain.batch, plain.baseline, sold, len(steps))

    def scored(self, forecast: Tensor, cases: ForecastExamples) -> MetricSums:
        """Return costs and service level of stock ordered from quantiles, float32 [N, Q]."""
        assert isinstance(cases, StockExamples)
        weeks = simulate(cases.sold, self.order_levels(forecast, cases.sold.shape), self.stock)
        return stock_metrics(weeks, cases.counted, self.stock)

    def order_levels(self, forecast: Tensor, shape: tuple[int, ...]) -> ReorderLevels:
        """Return reorder points and order-up-to levels, by series and week."""
        quantiles = doubles(forecast).reshape(*shape, len(self.levels))
        return order_levels(quantiles, self.levels, self.stock)

    def local_outputs(self, model: nn.Module, member: DemandMember) -> Mapping[str, pd.DataFrame]:
        """Return next week's order-up-to levels by series, and their quantiles."""
        coming, keys = member.coming[member.name], member.keys
        table = self.level_table(coming, self.coming(model, member))
        table.insert(0, self.split.level, [keys[i] for i in coming.batch[1].tolist()])
        return {"order-levels": table}

    def level_table(self, coming: ForecastExamples, forecast: Tensor) -> pd.DataFrame:
        """Return the levels of a coming week, a row a case, from its quantiles, [N, Q]."""
        levels = self.order_levels(forecast, (len(forecast), 1))
        table = pd.DataFrame(index=range(len(forecast)))
        table["mean_last_weeks"] = doubles(coming.baseline[-1])
        table["order_when_at_or_below"] = levels.reorder[:, 0]
        table["order_up_to"] = levels.order_up_to[:, 0]
        for column, level in enumerate(self.levels):
            table[f"demand_{level:g}"] = doubles(forecast[:, column])
        return table

    def averaged(
        self, rule: int, past: Sequence[ForecastExamples], cases: ForecastExamples
    ) -> Tensor:
        """Return a moving average plus a safety stock of z times its past error, float32 [N, Q].

        The error is the root mean square over the past weeks of the same series, over the whole
        horizon (Silver, Pyke and Thomas 2017, section 6.7).
        """
        assert isinstance(cases, StockExamples)
        misses = torch.cat([_misses(part, rule, self.horizon) for part in past], dim=1)
        error = misses.square().mean(dim=1).sqrt()
        error = error.repeat_interleave(cases.sold.shape[1]).unsqueeze(1)
        scores = error.new_tensor(ndtri(self.levels))
        return (cases.baseline[rule].unsqueeze(1) + scores * error).clamp_min(0.0)


class PrivateInventoryTask(PrivateDemandTask, InventoryTask):
    """The same from noised series, mixed with each retailer's local quantiles."""

    exact: ClassVar[type[DemandTask]] = InventoryTask


def _misses(cases: ForecastExamples, rule: int, horizon: int) -> Tensor:
    """Return a moving average's errors over counted weeks with a past horizon, [K, t]."""
    assert isinstance(cases, StockExamples)
    misses = (cases.demand - cases.baseline[rule]).reshape(cases.sold.shape)
    weeks = misses.shape[1]
    return misses[:, weeks - cases.counted : weeks - horizon + 1]


class ServedOrderLevels(ServedForecaster):
    """Sets a member's order levels."""

    use: ClassVar[str] = "What to order up to in the coming week, at the agreed costs."
    limits: ClassVar[tuple[str, ...]] = (
        "Sales are taken for demand: what ran out of stock was asked for more than it sold.",
        "It knows neither the stock nor the orders on their way.",
    )
    options: ClassVar[frozenset[str]] = frozenset({"as_of"})
    task: InventoryTask

    @torch.no_grad()
    def predict(self, tables: RetailerTables, request: Request) -> Iterator[pd.DataFrame]:
        """Yield `series`, `period_start`, order levels and the policy's figures, in one table.

        `period_end` is the last day that an order has to cover; see `ServedModel`.
        """
        task, known = self.task, self.known(tables, request.as_of)
        table, stock = self._levels(known), task.stock
        week = np.timedelta64(task.cadence.days, "D")
        start = known.steps[-1] + week
        last = start + task.horizon * week - np.timedelta64(1, "D")
        table.insert(0, "series", [self.facts.words.keys[key] for key in self.series.tolist()])
        table.insert(1, "period_start", start.astype("datetime64[s]"))
        table.insert(2, "period_end", last.astype("datetime64[s]"))
        table["policy"] = stock.policy
        table["critical_level"] = stock.critical_level
        table["holding_cost"], table["shortage_cost"] = stock.holding_cost, stock.shortage_cost
        yield table

    @property
    def band(self) -> float:
        """See `ServedForecaster`; between the quantiles next to 0.1 and 0.9 that the model has."""
        low, high = self._ends()
        return high - low

    def drawn(self, known: Known) -> Floats:
        """See `ServedForecaster`; median, quantiles, and what to order up to."""
        low, high = self._ends()
        columns = [f"demand_{level:g}" for level in (0.5, low, high)]
        return self._levels(known)[[*columns, "order_up_to"]].to_numpy(np.float64).T

    def _ends(self) -> tuple[float, float]:
        levels = np.array(self.task.levels)
        low, high = (float(levels[np.abs(levels - end).argmin()]) for end in (0.1, 0.9))
        return low, high

    def _levels(self, known: Known) -> pd.DataFrame:
        cases = self.next_step(known)
        return self.task.level_table(cases[0], self.forecast(cases))
