"""What each metric is called and means, for people who never heard of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class MetricLabel:
    """How a metric is shown.

    Attributes:
        title: Its name in a heading.
        meaning: What it says, short enough for the same line.
        higher_is_better: Whether more of it is better.
        percent: Whether it is a share, shown in percent.
        naive: What the obvious rule is, that every arm is compared with.
        headline: Whether it has a table of its own in the closing summary.
    """

    title: str
    meaning: str
    higher_is_better: bool
    percent: bool
    baseline: str
    headline: bool


_POPULARITY: Final = "Popularity"
_AVERAGE: Final = "Moving average"
_FREQUENT: Final = "Most frequent"

LABELS: Final[dict[str, MetricLabel]] = {
    "hr@10": MetricLabel(
        title="HR@10",
        meaning="share of customers suggested their next new product",
        higher_is_better=True,
        percent=False,
        baseline=_POPULARITY,
        headline=True,
    ),
    "ndcg@10": MetricLabel(
        title="NDCG@10",
        meaning="like HR, but a higher place in the list counts more",
        higher_is_better=True,
        percent=False,
        baseline=_POPULARITY,
        headline=True,
    ),
    "ndcg@10_expected": MetricLabel(
        title="NDCG@10 expected",
        meaning="NDCG@10 over all ways to draw the other products",
        higher_is_better=True,
        percent=False,
        baseline=_POPULARITY,
        headline=False,
    ),
    "hr@10_full": MetricLabel(
        title="HR@10 full",
        meaning="HR@10 among all products of the retailer",
        higher_is_better=True,
        percent=False,
        baseline=_POPULARITY,
        headline=False,
    ),
    "ndcg@10_full": MetricLabel(
        title="NDCG@10 full",
        meaning="NDCG@10 among all products of the retailer",
        higher_is_better=True,
        percent=False,
        baseline=_POPULARITY,
        headline=False,
    ),
    "accuracy": MetricLabel(
        title="Accuracy",
        meaning="share of held-out ratings that were predicted right",
        higher_is_better=True,
        percent=True,
        baseline=_FREQUENT,
        headline=True,
    ),
    "train_accuracy": MetricLabel(
        title="Training accuracy",
        meaning="share of the ratings it was trained on that it predicts right",
        higher_is_better=True,
        percent=True,
        baseline=_FREQUENT,
        headline=False,
    ),
    "pinball": MetricLabel(
        title="Pinball loss",
        meaning="quantiles' error in percent of recent sales",
        higher_is_better=False,
        percent=True,
        baseline=_AVERAGE,
        headline=True,
    ),
    "quantile_loss": MetricLabel(
        title="Quantile loss",
        meaning="the same, in percent of all units sold",
        higher_is_better=False,
        percent=True,
        baseline=_AVERAGE,
        headline=False,
    ),
    "mape": MetricLabel(
        title="MAPE",
        meaning="how far off a forecast is, in percent of the sales",
        higher_is_better=False,
        percent=True,
        baseline=_AVERAGE,
        headline=True,
    ),
    "wape": MetricLabel(
        title="WAPE",
        meaning="all units off, in percent of all units sold",
        higher_is_better=False,
        percent=True,
        baseline=_AVERAGE,
        headline=True,
    ),
    "mae": MetricLabel(
        title="MAE",
        meaning="units that a forecast is off by, on average",
        higher_is_better=False,
        percent=False,
        baseline=_AVERAGE,
        headline=False,
    ),
    "rmse": MetricLabel(
        title="RMSE",
        meaning="like MAE, but large errors count more",
        higher_is_better=False,
        percent=False,
        baseline=_AVERAGE,
        headline=False,
    ),
}
"""Every score that a task reports; figures that are no score have none."""


def register_labels(labels: Mapping[str, MetricLabel]) -> None:
    """Add the labels that a task declares for metrics of its own.

    Raises:
        ValueError: If a metric is shown in another way already.
    """
    for metric, label in labels.items():
        if LABELS.setdefault(metric, label) != label:
            raise ValueError(f"metric '{metric}' has another label already")


def title(metric: str) -> str:
    """Return a metric's name as it stands in a heading, for example `HR@10`."""
    return LABELS[metric].title if metric in LABELS else metric


def shown(metric: str, value: float) -> str:
    """Return a value as people read it: shares in percent, a dash where there was no case."""
    if math.isnan(value):
        return "-"
    percent = metric in LABELS and LABELS[metric].percent
    return f"{100 * value:.1f} %" if percent else f"{value:.3f}"
