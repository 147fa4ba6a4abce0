"""Drawing: nothing is computed here."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from securefl.data.describe import Description
from securefl.runs.summary import Summary, SummaryTable

WIDEST = 100
_LABEL_WIDTH = 12


def console() -> Console:
    """Stdout, no wider than is good to read; no colours and no wrapping hints in a file."""
    found = Console(highlight=False, soft_wrap=False)
    found.width = min(found.width, WIDEST)
    return found


def print_summary(summary: Summary) -> None:
    """The closing summary of a run."""
    out = console()
    out.print()
    out.print(Text(summary.heading, style="bold"))
    for table in summary.tables:
        out.print()
        out.print(Text(table.heading))
        out.print(_drawn(table))
    out.print()
    for note in summary.notes:
        out.print(Text(note, style="dim"))
    _labelled(out, "Conclusion", summary.conclusion)
    _labelled(out, "Customers", summary.protection)
    _copyable(out, "Results in", summary.run_dir)
    _copyable(out, "Try next", summary.next_command)


def print_description(description: Description) -> None:
    """What a data set holds, one row a retailer."""
    out = console()
    columns = ("Retailer", "Customers", "Products", "Baskets", "Rows", "Revenue", "Period")
    rows = [
        (
            member.name,
            f"{member.customers:,}",
            f"{member.products:,}",
            f"{member.baskets:,}",
            f"{member.transactions:,}",
            f"{member.revenue:,.0f}",
            f"{member.first_day:%Y-%m} to {member.last_day:%Y-%m}",
        )
        for member in description.members
    ]
    out.print(Text(f"Source '{description.source}'", style="bold"))
    out.print(_table(columns, rows))
    out.print(
        f"{description.customers:,} customers in all, {description.shared_customers:,} of them at"
        f" more than one retailer; {description.catalogue:,} products in the agreed catalogue."
    )
    if description.promotions is not None:
        out.print(f"{description.promotions:,} rows of promotions.")


def _drawn(table: SummaryTable) -> Table:
    drawn = _table(table.columns, table.rows)
    drawn.add_section()
    for total in table.totals:
        drawn.add_row(*total, style="bold")
    return drawn


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    drawn = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    for position, column in enumerate(columns):
        if position:
            drawn.add_column(column, justify="right", vertical="bottom", min_width=7)
        else:
            drawn.add_column(column, vertical="bottom", overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    return drawn


def _labelled(out: Console, label: str, text: str) -> None:
    indent = " " * _LABEL_WIDTH
    lines = textwrap.wrap(
        text, out.width, initial_indent=label.ljust(_LABEL_WIDTH), subsequent_indent=indent
    )
    out.print("\n".join(lines), markup=False)


def _copyable(out: Console, label: str, text: str) -> None:
    """A path or a command stays on one line, however long."""
    out.print(label.ljust(_LABEL_WIDTH) + text, markup=False, soft_wrap=True)
