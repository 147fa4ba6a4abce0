"""Rendering of answers; nothing is computed here."""

from __future__ import annotations

from pathlib import Path

from securefl.federation.analytics.answers import Row
from securefl.federation.analytics.api import Answer
from securefl.federation.analytics.columns import NUMBERS
from securefl.federation.analytics.queries import Kind, Query
from securefl_cli.rendering.screen import Screen, console, copyable, labelled
from securefl_cli.rendering.tables import plain_table

_MOST_ROWS = 25
_FORMS: dict[Kind, str] = {
    "sum": "{:,.0f}",
    "mean": "{:,.2f}",
    "histogram": "{:.2%}",
    "quantiles": "{:,.2f}",
    "top": "{:,.0f}",
}
_VALUES: dict[Kind, str] = {"histogram": "Share", "top": "Customers"}


def print_answer(answer: Answer, books: Path) -> None:
    """Print an answer and its privacy guarantee; the exact one only where it was requested."""
    out = console()
    out.line()
    out.line(_heading(answer), "bold")
    if answer.truth is not None:
        out.line(
            "SIMULATION: the columns 'exact' and 'bounded' are unprotected; no consortium has them",
            "bold red",
        )
    out.line()
    first = _first_rows(answer)
    out.table(plain_table(_columns(answer), [_cells(answer, row) for row in first]))
    if len(first) < len(answer.rows):
        out.line(f"and {len(answer.rows) - len(first)} more: --format json", "dim")
    out.line()
    _explain(out, answer)
    for name, text in answer.refused.items():
        labelled(out, "Refused", f"{name}: {text}")
    copyable(out, "All spent", f"securefl budget show --book {books}")


def _heading(answer: Answer) -> str:
    query = answer.query
    asked = f"{query.kind.capitalize()} of {query.column}"
    return f"{asked}: {len(answer.survivors)} of {answer.members} retailers"


def _first_rows(answer: Answer) -> list[Row]:
    if answer.query.kind != "histogram" or answer.query.bins is not None:
        return list(answer.rows)
    return sorted(answer.rows, key=lambda row: -row.value)[:_MOST_ROWS]


def _columns(answer: Answer) -> tuple[str, ...]:
    kind = answer.query.kind
    columns = ("", _VALUES.get(kind, "Value"), "95 % range")
    return columns if answer.truth is None else (*columns, "Exact", "Bounded")


def _cells(answer: Answer, row: Row) -> tuple[str, ...]:
    form, truth = _FORMS[answer.query.kind], answer.truth
    about = answer.about.get(row.name)
    name = f"{row.name}  {about}" if about else row.name or "(none)"
    least = min(0.0, answer.query.low or 0.0)
    low, value, high = (form.format(max(least, one)) for one in (row.low, row.value, row.high))
    cells = (name, value, f"{low} to {high}")
    if truth is None:
        return cells
    return (*cells, form.format(truth.exact[row.name]), form.format(truth.bounded[row.name]))


def _explain(out: Screen, answer: Answer) -> None:
    labelled(
        out,
        "Customers",
        f"each paid epsilon {answer.epsilon:.2f} at delta {answer.delta:g} (add or remove one"
        f" customer of {_retailers(answer.query.retailers)}); {_elsewhere(answer)}",
    )
    labelled(out, "Bounds", _bounds(answer.query))
    labelled(
        out,
        "Noise",
        f"deviation {answer.deviation:,.0f} in each of the sum's integers, of which one customer"
        f" moves them by {answer.sensitivity:,.1f}; enough if {answer.colluding} of"
        f" {answer.members} collude. Ranges are of the noise alone.",
    )
    if answer.query.kind == "top":
        labelled(out, "Sure", f"names above {answer.floor:,.0f}: noise alone seldom comes so far")
    if answer.truth is not None and answer.truth.overlap is not None:
        found = f"{answer.truth.overlap} of {len(answer.rows)} are in the exact list"
        labelled(out, "Overlap", found)


def _retailers(count: int) -> str:
    return "one retailer" if count == 1 else f"up to {count} retailers"


def _elsewhere(answer: Answer) -> str:
    count = len(answer.elsewhere) + 1
    return f"a customer of all {count} paid {answer.elsewhere[count]:.2f}"


def _bounds(query: Query) -> str:
    number = NUMBERS.get(query.column)
    record = number.record if number else "purchase line"
    most = f"at most {query.records:,} {record}{'s' if query.records > 1 else ''} of each customer"
    if query.kind == "sum":
        most = f"each customer's total is cut to that of {query.records:,} of the largest"
    elif query.repeats < query.records:
        most += f", {query.repeats:,} of each name"
    return most if number is None else f"{most}; {query.low:g} to {query.high:g}"
