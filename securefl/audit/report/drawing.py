"""What all charts have in common: inline SVG, coloured by the page's light or dark style."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from dataclasses import dataclass
from typing import Any, Final

from matplotlib.figure import Figure

from securefl.untrusted.text import shown

INK, GRID, MUTED = "#010101", "#020202", "#030303"
SERIES: Final = ("#040404", "#050505", "#060606", "#070707", "#080808", "#090909")
_VARIABLES: Final = {
    INK: "var(--ink)",
    GRID: "var(--line)",
    MUTED: "var(--muted)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, start=1)},
}
"""Placeholder colours, and the CSS variables that replace them in the SVG."""

MARKS: Final = ("o", "s", "^", "D", "v", "P")
STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # dollar signs in a name are no formula
    "svg.hashsalt": "securefl",
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "savefig.transparent": True,
}
_LONGEST_NAME = 24
"""Characters of a name in a chart; the table below it has all of them."""
WIDTH = 4.6
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


def label_of(name: str) -> str:
    """Return a name as a chart shows it."""
    text = shown(name)
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"


def add_legend(figure: Figure, entries: int, columns: int = 2) -> None:
    """Add a legend above a figure of several entries."""
    if entries > 1:
        figure.legend(loc="outside upper left", ncols=columns, fontsize=10)


def svg_of(figure: Figure, title: str) -> str:
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
