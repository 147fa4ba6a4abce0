"""`securefl budget`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from securefl_cli.group import LazyGroup
from securefl_cli.options import format_option, resolve, run_options

_COMMANDS = {
    "plan": ("securefl_cli.budget:plan", "Epsilon against rounds, before anything is trained."),
}


@click.group(cls=LazyGroup, commands_from=_COMMANDS)
def budget() -> None:
    """Look at the privacy budget of a run before it is spent."""


@click.command(
    short_help="Epsilon against rounds, before anything is trained.",
    epilog="""\b
    Examples:
      securefl budget plan --dp local --epsilon 4
      securefl budget plan my.toml --rounds 20
      securefl budget plan my.toml --format json > plan.json
    """,
)
@run_options
@format_option
def plan(
    *,
    config: Path | None,
    format: str,  # noqa: A002 - named after the option
    **options: Any,  # noqa: ANN401 - the run options, as click parsed them
) -> None:
    """Print the noise that a budget asks for, and what every round will have spent.

    No data are loaded: all of it follows from the settings.
    """
    resolved = resolve(config, options)
    from securefl.privacy.plan import budget_table

    table = budget_table(resolved)
    if format == "json":
        click.echo(json.dumps(table.to_json(), allow_nan=False))
        return
    from securefl_cli.tables import print_budget

    print_budget(table)
