"""Rendering of privacy ledgers; nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table

from securefl.config.privacy import protects
from securefl.consortium.ledger.account_statements import Account, RefusalLine, RunBudgetRow
from securefl.consortium.ledger.overlap import SharedCustomer, SharedRun
from securefl.privacy.accounting.spent import UNBOUNDED
from securefl_cli.rendering.screen import console


def print_accounts(
    accounts: Sequence[Account], customers: Sequence[SharedCustomer], books: Path
) -> None:
    """Print what each data set has spent, then what shared customers have."""
    screen = console()
    if not accounts:
        screen.print(f"Nothing has been released; there is no privacy ledger in {books}.")
        return
    table = _table("Retailer", "Data set", "Unit", "Runs", "Releases", "Spent", "Cap", "Left")
    for one in accounts:
        table.add_row(
            one.member,
            one.data_set,
            one.unit or "none",
            str(one.runs),
            str(one.releases),
            "no bound" if one.epsilon is None else f"{one.epsilon:.3f} at {one.delta:g}",
            "-" if one.cap is None else f"{one.cap.epsilon:g}",
            "-" if one.left is None else f"{one.left:.3f}",
        )
    screen.print(table)
    if any(one.epsilon is None for one in accounts):
        screen.print("no bound: these updates left without noise, and no epsilon covers them.")
    _print_customers(customers)


def _print_customers(customers: Sequence[SharedCustomer]) -> None:
    if not customers:
        return
    screen = console()
    table = _table("Unit", "Customer of", "Spent at most")
    for one in customers:
        retailers = "1 retailer" if one.retailers == 1 else f"{one.retailers} retailers"
        table.add_row(one.unit, retailers, _spent(one.epsilon, one.delta))
    screen.print()
    screen.print("In the worst case, whatever customers retailers share:")
    screen.print(table)


def print_history(
    runs: Sequence[RunBudgetRow],
    refusals: Sequence[RefusalLine],
    shared: Sequence[SharedRun],
    books: Path,
) -> None:
    """Print every run, the cost of shared noise for shared customers, and all refusals."""
    screen = console()
    if not runs and not refusals:
        screen.print(f"No run is recorded; there is no privacy ledger in {books}.")
        return
    table = _table("Started", "Retailer", "Data set", "Task", "Mode", "Releases", "Spent", "State")
    for run in runs:
        table.add_row(
            run.started,
            run.member,
            run.data_set,
            run.task,
            f"{run.mode}, {run.unit if protects(run.dp) else 'no DP'}",
            str(run.releases),
            "no bound" if run.epsilon is None else f"{run.epsilon:.3f} at {run.delta:g}",
            run.state,
        )
    screen.print(table)
    for one in shared:
        screen.print(
            f"Run {one.run[:16]}: a customer of {one.retailers} of its retailers has spent"
            f" {_spent(one.epsilon, one.delta)} at most, since they share the noise."
        )
    for refusal in refusals:
        what = f"round {refusal.round}" if refusal.round else "the run"
        screen.print(f"{refusal.time} {refusal.member} refused {what}: {refusal.text}")


def _spent(epsilon: float | None, delta: float) -> str:
    return f"{UNBOUNDED if epsilon is None else f'{epsilon:.3f}'} at {delta:g}"


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        right = column in {"Runs", "Releases", "Left", "Cap"}
        table.add_column(column, justify="right" if right else "left")
    return table
