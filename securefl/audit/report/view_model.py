"""The view model of the report: sections, tables and charts, independent of HTML."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from securefl._version import __version__
from securefl.audit.explain import Explanation
from securefl.audit.report.charts import comparison
from securefl.audit.report.drawing import Chart
from securefl.audit.report.summary_cards import Card, metric_title
from securefl.config.metric_labels import LABELS, MetricLabel, shown
from securefl.federation.runs.result import RunResult
from securefl.federation.runs.summary import SummaryTable, headline_metrics, rounds_done, summarise

_ARMS = {
    "naive": None,
    "alone": "Alone",
    "earlier": "Earlier model",
    "released": "Released model",
    "federated": "Federated",
    "pooled": "All data in one place",
}
"""Titles of the experiment variants in legend order; the baseline is titled by its metric."""


@dataclass(frozen=True)
class Figures:
    """A table of formatted cells.

    Attributes:
        caption: Caption.
        columns: Column titles.
        rows: Cells by row; the first cell of a row is its heading.
        totals: Summary rows below a line.
        marks: CSS class of each row; none if empty.
        folded: Whether it is shown when it is asked for.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    totals: tuple[tuple[str, ...], ...] = ()
    marks: tuple[str, ...] = ()
    folded: bool = False

    @property
    def marked(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return every row with its CSS class."""
        return tuple(zip(self.marks or ("",) * len(self.rows), self.rows, strict=True))


@dataclass(frozen=True)
class ListCard:
    """A customer's list beside what they bought.

    Attributes:
        title: Whose list it is.
        before: What they had bought.
        items: The list; each with whether it was bought next.
        outcome: What they bought next.
    """

    title: str
    before: str
    items: tuple[tuple[str, bool], ...]
    outcome: str


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        anchor: Fragment identifier.
        title: Heading.
        paragraphs: Paragraphs of text.
        points: Items of a list.
        lists: Customers' lists.
        charts: Charts.
        tables: Tables; they contain all figures of the charts, for accessibility.
        commands: Shell commands.
        unsigned: Whether its figures are from files that no member signed.
    """

    anchor: str
    title: str
    paragraphs: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    lists: tuple[ListCard, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Figures, ...] = ()
    commands: tuple[str, ...] = ()
    unsigned: bool = False


@dataclass(frozen=True)
class Report:
    """The report of one run.

    Attributes:
        title: Title with the task.
        subtitle: Retailers, mode, rounds, seed and duration.
        conclusion: The conclusion in one sentence.
        cards: Summary cards.
        sections: Sections in order.
        run: Digest that tells pages of two runs apart, hex.
        version: Version of securefl.
        unsigned: What "unsigned" on the page means, or what else is to be known of the page.
        kind: What the page is, as its generator is called.
        source: What it was made from.
    """

    title: str
    subtitle: str
    conclusion: str
    cards: tuple[Card, ...]
    sections: tuple[Section, ...]
    run: str
    version: str = field(default=__version__)
    unsigned: str = (
        "The sentence above and all figures marked as unsigned are from the files of the one"
        " who ran this: an audit does not cover them. All others follow from what the retailers"
        " signed."
    )
    kind: str = "report"
    source: str = "the files of the run alone"


def utility(result: RunResult) -> Section:
    """Return the section on utility: local-only, federated and centralized training."""
    summary = summarise(result)
    charts = tuple(
        _utility_chart(result, m, label) for m, label in headline_metrics(result).items()
    )
    return Section(
        anchor="results",
        title="What each retailer gains",
        unsigned=True,
        paragraphs=summary.notes,
        charts=charts,
        tables=tuple(_figures(table) for table in summary.tables),
    )


def _figures(table: SummaryTable) -> Figures:
    return Figures(table.heading, table.columns, table.rows, table.totals)


def _utility_chart(result: RunResult, metric: str, label: MetricLabel) -> Chart:
    titles = {arm: title or label.baseline for arm, title in _ARMS.items()}
    names = {arm: title for arm, title in titles.items() if arm in result.metrics}
    rows = {
        member.name: {
            title: member.metrics.get(arm, {}).get(metric, math.nan) for arm, title in names.items()
        }
        for member in result.members
    }
    better = "higher" if label.higher_is_better else "lower"
    return comparison(
        metric_title(metric),
        rows,
        axis=f"{label.title} ({better} is better)",
        percent=label.percent,
        description=f"{label.title} of each retailer, one mark for each of: "
        f"{', '.join(names.values())}. The table below has the figures.",
    )


def beside(result: RunResult, other: RunResult) -> Section:
    """Return the section that compares two runs of one task under different protection."""
    metrics = [m for m in headline_metrics(result) if m in other.metrics.get("federated", {})]
    rows = []
    for metric in metrics:
        label = LABELS[metric]
        here, there = (r.metrics["federated"][metric] for r in (result, other))
        rows.append((label.title, *(shown(metric, value) for value in (here, there))))
    return Section(
        anchor="protection",
        title="What the protection costs",
        unsigned=True,
        paragraphs=("Both are the federation's results on the same kind of test cases.",),
        tables=(
            Figures(
                "Federated, with one protection and with the other",
                ("", _protected(result), _protected(other)),
                tuple(rows),
            ),
        ),
    )


def _protected(result: RunResult) -> str:
    if result.privacy is None:
        return f"{result.mode}, no differential privacy"
    return f"{result.mode}, ε = {result.privacy.largest_epsilon:.2f}"


def subtitle(result: RunResult, story: Explanation | None = None) -> str:
    """Return the subtitle: retailers, mode, rounds, seed and duration, with what of it is unsigned.

    Args:
        result: Result of the run, which no member signed.
        story: What the signed entries say, in figures.
    """
    rest = f"seed {result.seed}, {result.seconds:.0f} seconds"
    if story is None:
        done = rounds_done(result.rounds)
        return f"{len(result.members)} retailers, mode {result.mode}, {done}, {rest} (unsigned)"
    done = rounds_done(story.rounds)
    return f"{len(story.members)} retailers, mode {story.mode}, {done}; {rest} (unsigned)"
