"""Rendering of summaries and tables; nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from securefl.config.metric_labels import title
from securefl.data.describe import Description
from securefl.federation.runs.compare import Comparison
from securefl.federation.runs.summary import Summary, rounds_done
from securefl.privacy.accounting.spent import shown_customer_epsilon
from securefl_cli.rendering.grid import Column, Table
from securefl_cli.rendering.screen import Screen, console, copyable, labelled

if TYPE_CHECKING:  # Opacus takes seconds to import, and only a budget needs it
    from securefl.privacy.budget_table import BudgetTable

_MANY = 8
"""Number of columns from which on they are closer together, to fit a terminal."""
_COSTS = (
    ("Seconds in all", "seconds", "{:,.1f}", 1.0),
    ("Seconds a round", "aggregation_seconds", "{:,.2f}", 1.0),
    ("MB up, a member and round", "bytes_up", "{:,.3f}", 1e6),
    ("MB down, a member and round", "bytes_down", "{:,.3f}", 1e6),
)


def print_summary(summary: Summary) -> None:
    """Print the closing summary of a run."""
    out = console()
    out.line()
    out.line(summary.heading, "bold")
    for table in summary.tables:
        out.line()
        out.line(table.heading)
        out.table(plain_table(table.columns, table.rows, table.totals))
    out.line()
    for note in summary.notes:
        out.line(note, "dim")
    labelled(out, "Conclusion", summary.conclusion)
    labelled(out, "Customers", summary.protection)
    copyable(out, "Results in", summary.run_dir)
    copyable(out, "Try next", summary.next_command)


def print_description(description: Description) -> None:
    """Print the description of a data set, one row a retailer."""
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
    out.line(f"Source '{description.source}'", "bold")
    out.table(plain_table(columns, rows))
    out.line(
        f"{description.customers:,} customers in all, {description.shared_customers:,} of them at"
        f" more than one retailer; {description.catalogue:,} products in the agreed catalogue."
    )
    if description.promotions is not None:
        out.line(f"{description.promotions:,} rows of promotions.")


def print_comparison(comparison: Comparison) -> None:
    """Print whether masked sums are exact, and their cost next to training in the clear."""
    out = console()
    plain, secure = comparison.plain, comparison.secure
    out.line()
    heading = f"{comparison.task}, {rounds_done(comparison.rounds)}, seed {comparison.seed}"
    out.line(f"{heading}: plain and secure side by side", "bold")
    out.line()
    rows = [
        (
            title(name),
            f"{value:.6g}",
            f"{secure.metrics[name]:.6g}",
            _signed(secure.metrics[name] - value),
        )
        for name, value in plain.metrics.items()
    ]
    for label, name, form, unit in _COSTS:
        before, after = getattr(plain, name) / unit, getattr(secure, name) / unit
        rows.append((label, form.format(before), form.format(after), f"x {after / before:.3g}"))
    out.table(plain_table(("", "Plain", "Secure", "Difference"), rows))
    out.line()
    identical = "yes" if comparison.integer_sums_identical else "NO"
    labelled(out, "Exact sums", f"{identical}, bit by bit in {rounds_done(comparison.rounds)}")
    difference = f"{comparison.max_abs_difference:.3g}, bound {comparison.bound:.3g}"
    labelled(out, "Largest gap", f"{difference}: {'within' if comparison.holds else 'BEYOND'}")
    lanes = f"{comparison.bits} bits a coordinate, {comparison.dimension:,} coordinates"
    ratio = f"{comparison.bytes_to_plain:.3g} times plain's bytes, both ways"
    labelled(out, "Lanes", f"{lanes}; {ratio}")
    for number, names in comparison.dropouts.items():
        labelled(out, "Dropouts", f"round {number}: without {', '.join(names)}")
    copyable(out, "Results in", comparison.run_dir)


def print_budget(table: BudgetTable) -> None:
    """Print the budget that is spent after every round of a run."""
    out = console()
    settings, budget = table.plan.settings, table.plan.budget
    out.line(f"epsilon {budget.epsilon:g}, delta {budget.delta:g} a {settings.unit}", "bold")
    out.line()
    columns = ["Round", "Steps", "Epsilon"]
    rows = [[str(p.round), str(p.steps), f"{p.epsilon:.3f}"] for p in table.rounds]
    records = table.plan.records_per_customer
    if not table.plan.mechanism.unit.covers_customers:
        columns.append("Epsilon of a customer")
        for row, planned in zip(rows, table.rounds, strict=True):
            row.append(shown_customer_epsilon(planned.customer_epsilon))
    out.table(plain_table(columns, rows))
    out.line()
    meaning = f"a {settings.unit} is {table.plan.protects}"
    limit = "" if records is None else f"; of a customer, {records} count at most"
    labelled(out, "Unit", meaning + limit)
    added = table.plan.mechanism.noise_added()
    noise = (
        f"{table.noise_multiplier:.3f} times the clip norm {settings.clip_norm:g}, {added} of each"
        f" step, in which a {settings.unit} is with probability {settings.sampling_rate:g}"
        f" ({settings.accountant.upper()} accountant)"
    )
    labelled(out, "Noise", noise)
    scores = "none leaves"
    if table.score_noise is not None:
        scores = (
            f"{table.score_noise:.3f} times what one {settings.unit} moves them, once;"
            f" with them epsilon is {table.total:.3f}"
        )
    labelled(out, "Scores", scores)
    if table.vote_noise is not None:
        ballots = f"{table.vote_noise:.3f} times the clip norm on what each ballot is read off"
        labelled(out, "Votes", f"{ballots}; they are in this epsilon")
    if table.months:
        _print_months(out, table)


def _print_months(out: Screen, table: BudgetTable) -> None:
    """Print what one run a month costs the same customers."""
    columns = ["Month", "Epsilon"]
    rows = [[str(one.month), f"{one.epsilon:.3f}"] for one in table.months]
    if not table.plan.mechanism.unit.covers_customers:
        columns.append("Epsilon of a customer")
        for row, one in zip(rows, table.months, strict=True):
            row.append(shown_customer_epsilon(one.customer_epsilon))
    if table.plan.mechanism.customers_share_noise:
        columns.append("Customer of two retailers")
        for row, one in zip(rows, table.months, strict=True):
            row.append(shown_customer_epsilon(one.two_retailers_epsilon))
    out.line()
    out.table(plain_table(columns, rows))
    out.line()
    labelled(
        out,
        "Months",
        f"of one such run each, on the same customers, at delta {table.plan.budget.delta:g};"
        " it is less than the sum of single runs, as losses compose",
    )


def _signed(difference: float) -> str:
    return f"{difference:+.2g}" if difference else "none"


def plain_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    totals: Sequence[Sequence[str]] = (),
) -> Table:
    """Return a table whose first column is text and whose others are numbers, totals last."""
    gap = 2 if len(columns) < _MANY else 1
    numbered = [Column(name, right=place > 0, firm=place > 0) for place, name in enumerate(columns)]
    return Table(numbered, rows, totals, gap=gap)
