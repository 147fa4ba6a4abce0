"""Quantile forecasts of demand, on which stock decisions are based."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from securefl.config.schema import RunConfig
from securefl.ml.metrics.forecasting import below, quantile_tally
from securefl.ml.metrics.spec import MetricSpec
from securefl.ml.metrics.sums import MetricSums
from securefl.tasks.demand.features import feature_count
from securefl.tasks.demand.personalized import PrivateDemandTask
from securefl.tasks.demand.quantile_model import QuantileForecaster, QuantileTarget
from securefl.tasks.demand.settings import QuantileForecasterSettings
from securefl.tasks.demand.task import DemandFacts, DemandTask, doubles
from securefl.tasks.demand.windows import ForecastExamples


class QuantileTask(DemandTask):
    """Forecasts quantiles of demand a week (or a day) ahead."""

    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        MetricSpec("pinball", higher_is_better=False, counted_as="cases"),
        MetricSpec("quantile_loss", higher_is_better=False, counted_as="units sold"),
        *DemandTask.metrics,
    )

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        assert isinstance(config.model, QuantileForecasterSettings)
        self.levels = config.model.levels

    @property
    def scored_metrics(self) -> tuple[MetricSpec, ...]:
        """See `Task.scored_metrics`."""
        shares = (MetricSpec(below(level), True, counted_as="cases") for level in self.levels)
        return (*super().scored_metrics, *shares)

    def model(self, facts: DemandFacts, customers: int) -> nn.Module:
        """See `DemandTask.model`."""
        assert isinstance(self.settings, QuantileForecasterSettings)
        inputs = feature_count(self.cadence)
        return QuantileForecaster(self.settings, inputs, len(facts.words.keys))

    @property
    def target(self) -> QuantileTarget:
        """See `DemandTask.target`."""
        return QuantileTarget(self.levels)

    def scored(self, forecast: Tensor, cases: ForecastExamples) -> MetricSums:
        """See `DemandTask.scored`; a case's scale is one unit more than its recent mean."""
        level = cases.batch[2]
        return quantile_tally(
            doubles(forecast), doubles(cases.demand), doubles(level.exp()), self.levels
        )

    def averaged(
        self, rule: int, past: Sequence[ForecastExamples], cases: ForecastExamples
    ) -> Tensor:
        """Return a moving average times the quantiles of its past errors, float32 [N, Q].

        An error is a ratio, and those of all of the retailer's series are pooled: a single series
        has too few for a quantile in the tail.
        """
        known = torch.cat([_log_ratio(part, rule) for part in past])
        if not len(known):
            return cases.baseline[rule].unsqueeze(1).expand(-1, len(self.levels))
        errors = torch.quantile(known, known.new_tensor(self.levels))
        average = torch.log1p(cases.baseline[rule]).unsqueeze(1)
        return torch.expm1(average + errors).clamp_min(0.0)


class PrivateQuantileTask(PrivateDemandTask, QuantileTask):
    """The same from noised series, mixed with each retailer's local quantiles."""

    exact: ClassVar[type[DemandTask]] = QuantileTask


def _log_ratio(cases: ForecastExamples, rule: int) -> Tensor:
    """Return the log ratio of demand to a moving average, plus one each, float32 [N]."""
    return torch.log1p(cases.demand) - torch.log1p(cases.baseline[rule])
