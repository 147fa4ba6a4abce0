"""Charts of a run as inline SVG, coloured by the page's light or dark style."""

from __future__ import annotations

import hashlib
import io
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from securefl.untrusted.text import shown

_INK, _GRID, _MUTED = "#010101", "#020202", "#030303"
_SERIES: Final = ("#040404", "#050505", "#060606", "#070707", "#080808", "#090909")
_VARIABLES: Final = {
    _INK: "var(--ink)",
    _GRID: "var(--line)",
    _MUTED: "var(--muted)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(_SERIES, start=1)},
}
"""Placeholder colours, and the CSS variables that replace them in the SVG."""

_MARKS: Final = ("o", "s", "^", "D", "v", "P")
_STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # dollar signs in a name are no formula
    "svg.hashsalt": "securefl",
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _MUTED,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "text.color": _INK,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "legend.frameon": False,
    "savefig.transparent": True,
}
_LONGEST_NAME = 24
"""Characters of a name in a chart; the table below it has all of them."""
_WIDTH = 4.6
"""Inches; narrow, so that text stays legible on a phone."""


@dataclass(frozen=True)
class Chart:
    """A chart with its text alternative.

    Attributes:
        title: Title.
        svg: An `<svg>` element that fills the available width.
        description: The content in one sentence, for screen readers.
    """

    title: str
    svg: str
    description: str


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
    with mpl.rc_context(_STYLE):
        names = list(rows)
        variants = list(next(iter(rows.values()), {}))
        height = 0.75 + 0.4 * len(names) + 0.25 * math.ceil(len(variants) / 2)
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = figure.subplots()
        factor = 100 if percent else 1
        for place, name in enumerate(names):
            values = [v * factor for v in rows[name].values() if not math.isnan(v)] or [math.nan]
            axes.plot([min(values), max(values)], [place, place], color=_GRID, zorder=1)
        for number, variant in enumerate(variants):
            values = [rows[name][variant] * factor for name in names]
            axes.scatter(
                values,
                range(len(names)),
                s=46,
                marker=_MARKS[number % len(_MARKS)],
                color=_SERIES[number % len(_SERIES)],
                label=variant,
                zorder=2,
            )
        axes.set_yticks(range(len(names)), [_label(name) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"{axis}, %" if percent else axis)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        _legend(figure, len(variants))
        return Chart(title, _svg(figure, title), description)


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
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 2.9), layout="constrained")
        axes = figure.subplots()
        for number, (name, points) in enumerate(series.items()):
            axes.plot(
                [place for place, _ in points],
                [value for _, value in points],
                marker=_MARKS[number % len(_MARKS)],
                markersize=4.5,
                linewidth=1.6,
                color=_SERIES[number % len(_SERIES)],
                label=_label(name),
            )
        for name, value in limits.items():
            axes.axhline(value, color=_INK, linestyle="--", linewidth=1.2, label=name)
        _from_zero(axes)
        axes.set_xlabel("round")
        axes.set_ylabel(axis)
        _legend(figure, len(series) + len(limits))
        return Chart(title, _svg(figure, title), description)


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
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 2.2), layout="constrained")
        axes = figure.subplots()
        axes.bar(list(values), list(values.values()), color=_SERIES[0], width=0.7)
        _from_zero(axes)
        axes.grid(visible=False, axis="x")
        axes.set_xlabel("round")
        axes.set_ylabel(axis)
        return Chart(title, _svg(figure, title), description)


def _label(name: str) -> str:
    text = shown(name)
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"


def _from_zero(axes: Axes) -> None:
    axes.set_ylim(0, 1.08 * axes.get_ylim()[1])
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def _legend(figure: Figure, entries: int) -> None:
    if entries > 1:
        figure.legend(loc="outside upper left", ncols=2, fontsize=10)


def _svg(figure: Figure, title: str) -> str:
    """Return the figure as an SVG element without fixed size, coloured by CSS variables."""
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # The page has the reader's fonts, so it does not matter which glyphs matplotlib's lack.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font", module=".*")
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' width="[\d.]+pt"| height="[\d.]+pt"', "", text, count=2)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    # Matplotlib uses the same ids in every figure; on one page they have to be unique.
    own = hashlib.sha256(title.encode()).hexdigest()[:8]
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{own}-", text)
    return text.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)
