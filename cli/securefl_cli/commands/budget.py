"""`securefl budget`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from securefl_cli.group import LazyGroup
from securefl_cli.options.run import (
    Real,
    format_option,
    kept_book_option,
    policy_option,
    resolve,
    run_options,
)
from securefl_cli.rendering.screen import print_json

_COMMANDS = {
    "plan": (
        "securefl_cli.commands.budget:plan",
        "Epsilon against rounds, before anything is trained.",
    ),
    "show": (
        "securefl_cli.commands.budget:show",
        "What each retailer's data have spent, and what is left.",
    ),
    "history": (
        "securefl_cli.commands.budget:history",
        "In which runs it was spent, and what was refused.",
    ),
}


@click.group(cls=LazyGroup, commands_from=_COMMANDS)
def budget() -> None:
    """Look at the privacy budget: of a run before it is spent, and of the data over their life."""


@click.command(
    short_help="Epsilon against rounds, before anything is trained.",
    epilog="""\b
    Examples:
      securefl budget plan --dp local --epsilon 4
      securefl budget plan my.toml --rounds 20
      securefl budget plan my.toml --months 12      a year of retraining
      securefl budget plan my.toml --format json > plan.json
    """,
)
@run_options
@click.option(
    "--months",
    type=click.IntRange(1, 1200),
    metavar="N",
    help="Also what N such runs cost, one a month on the same customers.",
)
@format_option
def plan(
    *,
    config: Path | None,
    months: int | None,
    format: str,  # noqa: A002 - named after the option
    **options: Any,  # noqa: ANN401 - the run options, as click parsed them
) -> None:
    """Print the noise of a budget, and the epsilon spent after every round.

    Of more than 100 rounds or months, 100 at even distances are listed.

    No data are loaded: all of it follows from the settings.
    """
    resolved = resolve(config, options)
    from securefl.privacy.budget_table import budget_table

    table = budget_table(resolved, months or 0)
    if format == "json":
        print_json(table.to_json())
        return
    from securefl_cli.rendering.tables import print_budget

    print_budget(table)


member_option = click.option("--member", metavar="NAME", help="Only this retailer's ledger.")


@click.command(
    short_help="What each retailer's data have spent, and what is left.",
    epilog="""\b
    Examples:
      securefl budget show
      securefl budget show --policy policy.toml
      securefl budget show --member retailer-1 --book /srv/books
      securefl budget show --format json > spent.json
    """,
)
@kept_book_option
@policy_option
@member_option
@click.option(
    "--delta",
    type=Real(min=0, max=1, min_open=True, max_open=True),
    metavar="D",
    help="Delta for customers of several retailers; the smallest of all runs if not given.",
)
@format_option
def show(
    *,
    book: Path | None,
    policy: Path | None,
    member: str | None,
    delta: float | None,
    format: str,  # noqa: A002 - named after the option
) -> None:
    """Print what is spent and left for each data set and unit, over all runs and tasks.

    Failed runs and tuning runs count like all others. A customer of several retailers has the
    composition of what each of them has spent, stated for those that have spent most; under noise
    that retailers share they are charged for being in the sum at each of them.
    """
    from securefl.consortium.ledger.account_statements import accounts
    from securefl.consortium.ledger.overlap import shared_customers
    from securefl.consortium.ledger.paths import LedgerPaths

    places = LedgerPaths.usual(book, policy)
    found = accounts(places.books, policy=places.policy, member=member)
    customers = () if member else shared_customers(places.books, delta)
    if format == "json":
        tree = {"books": str(places.books), "accounts": found, "customers": customers}
        print_json(tree, _plain)
        return
    from securefl_cli.rendering.budget import print_accounts

    print_accounts(found, customers, places.books)


@click.command(
    short_help="In which runs it was spent, and what was refused.",
    epilog="""\b
    Examples:
      securefl budget history
      securefl budget history --member retailer-1
      securefl budget history --format json > history.json
    """,
)
@kept_book_option
@member_option
@format_option
def history(
    *,
    book: Path | None,
    member: str | None,
    format: str,  # noqa: A002 - named after the option
) -> None:
    """Print every run in the ledgers: ended, killed or failed, private or not."""
    from securefl.consortium.ledger.account_statements import refusal_lines, run_lines
    from securefl.consortium.ledger.overlap import shared_runs
    from securefl.consortium.ledger.paths import LedgerPaths

    books = LedgerPaths.usual(book).books
    runs, refusals = run_lines(books, member), refusal_lines(books, member)
    shared = () if member else shared_runs(books)
    if format == "json":
        tree = {"books": str(books), "runs": runs, "refusals": refusals, "shared": shared}
        print_json(tree, _plain)
        return
    from securefl_cli.rendering.budget import print_history

    print_history(runs, refusals, shared, books)


def _plain(value: Any) -> Any:  # noqa: ANN401 - dataclasses and pydantic models
    """Return the JSON values of a ledger's records."""
    return value.model_dump() if hasattr(value, "model_dump") else vars(value)
