"""What each metric is called and means, for people who never heard of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class MetricLabel:
    """How a metric is shown.

    Attributes:
        title: Its name in a heading; a cutoff follows after an `@`.
        meaning: What it says, as a clause without a verb of its own.
        higher_is_better: Whether more of it is better.
        percent: Whether it is a share, shown in percent.
        naive: What the obvious rule is, that every arm is compared with.
        headline: Whether it has a table of its own in the closing summary.
    """

    title: str
    meaning: str
    higher_is_better: bool
    percent: bool
    naive: str
    headline: bool


_POPULARITY: Final = "Popularity"
_AVERAGE: Final = "Moving average"

_LABELS: Final = {
    "hr": MetricLabel(
        title="HR",
        meaning="share of customers whose next new product is in their list of suggestions",
        higher_is_better=True,
        percent=False,
        naive=_POPULARITY,
        headline=True,
    ),
    "ndcg": MetricLabel(
        title="NDCG",
        meaning="like HR, but a product that stands higher in the list counts more",
        higher_is_better=True,
        percent=False,
        naive=_POPULARITY,
        headline=True,
    ),
    "accuracy": MetricLabel(
        title="Accuracy",
        meaning="share of held-out ratings that were foreseen exactly",
        higher_is_better=True,
        percent=True,
        naive="Most frequent",
        headline=True,
    ),
    "mape": MetricLabel(
        title="MAPE",
        meaning="how far a forecast is off, in percent of what was sold, on average",
        higher_is_better=False,
        percent=True,
        naive=_AVERAGE,
        headline=True,
    ),
    "wape": MetricLabel(
        title="WAPE",
        meaning="all units that forecasts were off by, in percent of all units sold",
        higher_is_better=False,
        percent=True,
        naive=_AVERAGE,
        headline=True,
    ),
    "mae": MetricLabel(
        title="MAE",
        meaning="units that a forecast is off by, on average",
        higher_is_better=False,
        percent=False,
        naive=_AVERAGE,
        headline=False,
    ),
    "rmse": MetricLabel(
        title="RMSE",
        meaning="like MAE, but large errors count more",
        higher_is_better=False,
        percent=False,
        naive=_AVERAGE,
        headline=False,
    ),
}


def label(metric: str) -> MetricLabel | None:
    """The label of a metric such as `hr@10` or `mape`; None for a figure that is no score."""
    base, _, _ = metric.partition("@")
    return _LABELS.get(base)


def title(metric: str) -> str:
    """A metric's name as it stands in a heading, for example `HR@10`."""
    found = label(metric)
    _, at, cutoff = metric.partition("@")
    return f"{found.title}{at}{cutoff}" if found else metric


def shown(metric: str, value: float) -> str:
    """A value as people read it: shares in percent, a dash where there was no case."""
    if value != value:  # noqa: PLR0124 - NaN alone differs from itself
        return "-"
    found = label(metric)
    return f"{100 * value:.1f} %" if found is not None and found.percent else f"{value:.3f}"
