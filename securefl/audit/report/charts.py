"""Charts of a run's results and rounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from securefl.audit.report.drawing import (
    GRID,
    INK,
    MARKS,
    SERIES,
    STYLE,
    WIDTH,
    Chart,
    add_legend,
    label_of,
    svg_of,
)


def comparison(
    title: str,
    rows: Mapping[str, Mapping[str, float]],
    *,
    axis: str,
    percent: bool,
    description: str,
) -> Chart:
    """Draw one line for each retailer with one mark for each experiment variant.

    Args:
        title: Title.
        rows: Value by retailer and variant, NaN where there is none; variants in legend order.
        axis: Axis label.
        percent: Whether values are shares, to be shown in percent.
        description: The content in one sentence.
    """
    with mpl.rc_context(STYLE):
        names = list(rows)
        variants = list(next(iter(rows.values()), {}))
        height = 0.75 + 0.4 * len(names) + 0.25 * math.ceil(len(variants) / 2)
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots()
        factor = 100 if percent else 1
        for place, name in enumerate(names):
            values = [v * factor for v in rows[name].values() if not math.isnan(v)] or [math.nan]
            axes.plot([min(values), max(values)], [place, place], color=GRID, zorder=1)
        for number, variant in enumerate(variants):
            values = [rows[name][variant] * factor for name in names]
            axes.scatter(
                values,
                range(len(names)),
                s=46,
                marker=MARKS[number % len(MARKS)],
                color=SERIES[number % len(SERIES)],
                label=variant,
                zorder=2,
            )
        axes.set_yticks(range(len(names)), [label_of(name) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"{axis}, %" if percent else axis)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        add_legend(figure, len(variants))
        return Chart(title, svg_of(figure, title), description)


def over_rounds(
    title: str,
    series: Mapping[str, Sequence[tuple[int, float]]],
    *,
    axis: str,
    limits: Mapping[str, float],
    description: str,
) -> Chart:
    """Draw lines over the rounds of a run, from zero, with upper limits.

    Args:
        title: Title.
        series: Points (round, value) by name.
        axis: Axis label.
        limits: Values of dashed lines by name.
        description: The content in one sentence.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
        axes = figure.subplots()
        for number, (name, points) in enumerate(series.items()):
            axes.plot(
                [place for place, _ in points],
                [value for _, value in points],
                marker=MARKS[number % len(MARKS)],
                markersize=4.5,
                linewidth=1.6,
                color=SERIES[number % len(SERIES)],
                label=label_of(name),
            )
        for name, value in limits.items():
            axes.axhline(value, color=INK, linestyle="--", linewidth=1.2, label=name)
        _from_zero(axes)
        axes.set_xlabel("round")
        axes.set_ylabel(axis)
        add_legend(figure, len(series) + len(limits))
        return Chart(title, svg_of(figure, title), description)


def bars_over_rounds(
    title: str, values: Mapping[int, float], *, axis: str, description: str
) -> Chart:
    """Draw one bar for each round.

    Args:
        title: Title.
        values: Value by round.
        axis: Axis label.
        description: The content in one sentence.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.2), layout="constrained")
        axes = figure.subplots()
        axes.bar(list(values), list(values.values()), color=SERIES[0], width=0.7)
        _from_zero(axes)
        axes.grid(visible=False, axis="x")
        axes.set_xlabel("round")
        axes.set_ylabel(axis)
        return Chart(title, svg_of(figure, title), description)


def _from_zero(axes: Axes) -> None:
    axes.set_ylim(0, 1.08 * axes.get_ylim()[1])
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
