"""Rendering of privacy ledgers; nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from securefl.config.privacy import protects
from securefl.consortium.ledger.account_statements import Account, RefusalLine, RunBudgetRow
from securefl.consortium.ledger.overlap import SharedCustomer, SharedRun
from securefl.privacy.accounting.spent import UNBOUNDED
from securefl_cli.rendering.grid import Column, Table
from securefl_cli.rendering.screen import console


def print_accounts(
    accounts: Sequence[Account], customers: Sequence[SharedCustomer], books: Path
) -> None:
    """Print what each data set has spent, then what shared customers have."""
    screen = console()
    if not accounts:
        _print_none(books)
        return
    names = ("Retailer", "Data set", "Unit", "Runs", "Releases", "Spent", "Cap", "Left")
    rows = [
        (
            one.member,
            one.data_set,
            one.unit or "none",
            str(one.runs),
            str(one.releases),
            "no bound" if one.epsilon is None else f"{one.epsilon:.3f} at {one.delta:g}",
            "-" if one.cap is None else f"{one.cap.epsilon:g}",
            "-" if one.left is None else f"{one.left:.3f}",
        )
        for one in accounts
    ]
    screen.table(_table(names, rows))
    if any(one.epsilon is None for one in accounts):
        screen.line("no bound: these updates left without noise, and no epsilon covers them.")
    _print_customers(customers)


def _print_none(books: Path) -> None:
    console().line(f"No run has kept a privacy ledger here: there is none in {books}.")


def _print_customers(customers: Sequence[SharedCustomer]) -> None:
    if not customers:
        return
    screen = console()
    rows = [
        (
            one.unit,
            "1 retailer" if one.retailers == 1 else f"{one.retailers} retailers",
            _spent(one.epsilon, one.delta),
        )
        for one in customers
    ]
    screen.line()
    screen.line("In the worst case, whatever customers retailers share:")
    screen.table(_table(("Unit", "Customer of", "Spent at most"), rows))


def print_history(
    runs: Sequence[RunBudgetRow],
    refusals: Sequence[RefusalLine],
    shared: Sequence[SharedRun],
    books: Path,
) -> None:
    """Print every run, the cost of shared noise for shared customers, and all refusals."""
    screen = console()
    if not runs and not refusals:
        _print_none(books)
        return
    names = ("Started", "Retailer", "Data set", "Training", "Releases", "Spent", "State")
    rows = [
        (
            run.started.replace("T", " ").removesuffix("Z"),
            run.member,
            run.data_set,
            f"{run.task}, {run.mode}, {run.unit if protects(run.dp) else 'no DP'}",
            str(run.releases),
            "no bound" if run.epsilon is None else f"{run.epsilon:.3f} at {run.delta:g}",
            run.state,
        )
        for run in runs
    ]
    screen.table(_table(names, rows))
    for one in shared:
        screen.line(
            f"Run {one.run[:16]}: a customer of {one.retailers} of its retailers has spent"
            f" {_spent(one.epsilon, one.delta)} at most, since they share the noise."
        )
    for refusal in refusals:
        what = f"round {refusal.round}" if refusal.round else "the run"
        screen.line(f"{refusal.time} {refusal.member} refused {what}: {refusal.text}")


def _spent(epsilon: float | None, delta: float) -> str:
    return f"{UNBOUNDED if epsilon is None else f'{epsilon:.3f}'} at {delta:g}"


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    numbers = {"Runs", "Releases", "Left", "Cap"}
    return Table([Column(name, right=name in numbers) for name in names], rows)
