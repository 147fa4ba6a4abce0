"""Charts of a member's own held-out cases: forecasts with bands, calibration, price curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from securefl.audit.report.drawing import (
    GRID,
    INK,
    MUTED,
    SERIES,
    STYLE,
    WIDTH,
    Chart,
    add_legend,
    svg_of,
)
from securefl.tasks.common.held_out import PriceCurve, SeriesPath

_LATEST = 3
"""Steps before the held-out ones that are drawn, times the number of these."""
_BLUE, _GREEN, _BROWN = SERIES[3], SERIES[4], SERIES[1]


@dataclass(frozen=True)
class Bin:
    """Cases with probabilities of about the same size.

    Attributes:
        lowest: The smallest probability.
        highest: The largest.
        predicted: The mean probability.
        observed: The share of cases that came true.
        error: The binomial standard error of that share, were the probabilities right.
        count: Number of cases.
    """

    lowest: float
    highest: float
    predicted: float
    observed: float
    error: float
    count: int


def forecast_chart(path: SeriesPath, step: str, band: float, covers: int) -> Chart:
    """Draw a series' sales, and forecasts with bands over the held-out steps.

    Args:
        path: The series.
        step: Name of a step.
        band: Probability that the band should hold.
        covers: Steps whose mean demand a figure is.
    """
    ahead = path.steps[len(path.steps) - len(path.forecast) :]
    first = max(len(path.steps) - (1 + _LATEST) * len(ahead), 0)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
        axes = figure.subplots()
        axes.fill_between(
            ahead, path.lower, path.upper, color=_BLUE, alpha=0.22, linewidth=0, label="band"
        )
        axes.plot(path.steps[first:], path.sold[first:], color=INK, linewidth=1.3, label="sold")
        axes.plot(ahead, path.forecast, color=_BLUE, linewidth=1.8, marker="o", markersize=3.5)
        axes.lines[-1].set_label("forecast")
        if path.ordered is not None:
            axes.plot(ahead, path.ordered, color=_BROWN, linestyle="--", label="order up to")
        axes.set_ylim(0, 1.08 * axes.get_ylim()[1])
        _dates(axes)
        over = "" if covers == 1 else f", mean of {covers} {step}s"
        axes.set_ylabel(f"units a {step}{over}")
        add_legend(figure, 4 if path.ordered is not None else 3, columns=4)
        share = f"{path.inside} of {len(ahead)} {step}s within the {band:.0%} band"
        sums = f"{path.held_out.sum():,.0f} units sold, {path.forecast.sum():,.0f} forecast"
        return Chart(path.name, svg_of(figure, path.name), f"{sums}; {share}.")


def calibration_chart(bins: Sequence[Bin]) -> Chart:
    """Draw how often predictions came true, by how probable they were called."""
    title = "Predicted and observed"
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
        axes = figure.subplots()
        predicted = 100 * np.array([one.predicted for one in bins])
        observed = 100 * np.array([one.observed for one in bins])
        largest = 1.06 * max(predicted.max(), observed.max(), 1.0)
        axes.plot([0, largest], [0, largest], color=MUTED, linestyle="--", label="as predicted")
        axes.errorbar(
            predicted,
            observed,
            yerr=[100 * one.error for one in bins],
            fmt="o",
            color=_BLUE,
            markersize=5,
            elinewidth=1.1,
            label="customers, with standard error",
        )
        axes.set_xlim(0, largest)
        axes.set_ylim(0, max(largest, axes.get_ylim()[1]))
        axes.set_xlabel("predicted probability, %")
        axes.set_ylabel("stayed away, %")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(6))
        add_legend(figure, 2)
        ends = f"{predicted[0]:.1f} % to {predicted[-1]:.1f} %"
        went = f"{observed[0]:.1f} % to {observed[-1]:.1f} %"
        says = f"{len(bins)} groups of customers, predicted {ends}, observed {went}."
        return Chart(title, svg_of(figure, title), says)


def price_chart(curve: PriceCurve, largest: float) -> Chart:
    """Draw revenue and margin over changes of a price.

    Args:
        curve: The curve.
        largest: Largest change that may be recommended, in percent.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
        axes = figure.subplots()
        axes.axvspan(-largest, largest, color=GRID, alpha=0.35, linewidth=0, label="allowed")
        for name, colour, (value, low, high) in (
            ("revenue", _BLUE, curve.revenue),
            ("margin", _GREEN, curve.margin),
        ):
            axes.fill_between(curve.change, low, high, color=colour, alpha=0.2, linewidth=0)
            axes.plot(curve.change, value, color=colour, linewidth=1.8, label=name)
        axes.set_xlabel("change of price, %")
        axes.set_ylabel("% of today's")
        add_legend(figure, 3, columns=3)
        at = f"elasticity {curve.elasticity:.2f} ± {curve.error:.2f}"
        ends = " to ".join(f"{value:.0f}" for value in (curve.revenue[0, 0], curve.revenue[0, -1]))
        says = f"{at}; revenue from {curve.change[0]:+.0f} to {curve.change[-1]:+.0f} %: {ends}"
        return Chart(curve.name, svg_of(figure, curve.name), f"{says} % of today's.")


def bins_of(
    probability: np.ndarray[tuple[int], np.dtype[np.float64]],
    came: np.ndarray[tuple[int], np.dtype[np.bool_]],
    most: int = 10,
) -> tuple[Bin, ...]:
    """Return cases in groups of equal size by probability, the lowest first.

    Args:
        probability: Predicted, float64 [n].
        came: Whether it came true, bool [n].
        most: Largest number of groups; each has five cases at least, where there are so many.
    """
    order = np.argsort(probability, kind="stable")
    parts = np.array_split(order, max(1, min(most, len(order) // 5)))
    found = []
    for part in parts:
        chance = probability[part]
        error = float(np.sqrt((chance * (1 - chance)).sum())) / len(part)
        ends = float(chance[0]), float(chance[-1])
        means = float(chance.mean()), float(came[part].mean())
        found.append(Bin(*ends, *means, error, len(part)))
    return tuple(found)


def _dates(axes: Axes) -> None:
    locator = AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(
        ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
    )
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
