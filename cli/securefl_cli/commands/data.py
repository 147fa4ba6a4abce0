"""`securefl data describe` and `securefl data check`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from securefl_cli.group import LazyGroup
from securefl_cli.options.run import (
    config_argument,
    data_option,
    format_option,
    resolve,
    task_option,
)
from securefl_cli.rendering.reading import show_reading
from securefl_cli.rendering.screen import console, print_json

_COMMANDS = {
    "describe": (
        "securefl_cli.commands.data:describe",
        "Load and check the data, and count what they hold.",
    ),
    "check": (
        "securefl_cli.commands.data:check",
        "List every fault of the data at once, with its correction.",
    ),
}


@click.group(cls=LazyGroup, commands_from=_COMMANDS)
def data() -> None:
    """Look at the data of a run before training."""


@click.command(
    epilog="""\b
    Examples:
      securefl data describe
      securefl data describe --data tutorial --task demand
      securefl data describe my.toml --format json
    """
)
@config_argument
@task_option
@data_option
@format_option
def describe(
    *,
    config: Path | None,
    task: str | None,
    data: str | None,
    format: str,  # noqa: A002 - named after the option
) -> None:
    """Load the data that a run would train on, check every table, and count what they hold."""
    settings = resolve(config, {"task": task, "data": data})
    from securefl.data.describe import describe as count
    from securefl.data.sources.registry import load

    show_reading()
    description = count(load(settings.data))
    if format == "json":
        print_json(asdict(description), str)
        return
    from securefl_cli.rendering.tables import print_description

    print_description(description)


@click.command(
    epilog="""\b
    Examples:
      securefl data check my.toml
      securefl data check my.toml --html check.html
      securefl data check my.toml --format json
    """
)
@config_argument
@task_option
@data_option
@format_option
@click.option(
    "--html", type=click.Path(path_type=Path), metavar="FILE", help="Also write it as a new page."
)
def check(
    *,
    config: Path | None,
    task: str | None,
    data: str | None,
    format: str,  # noqa: A002 - named after the option
    html: Path | None,
) -> int:
    """List all faults of the data, and all lines that rules leave out, in one reading.

    Ends with 0 if a run would read the data, and with 2 if it would refuse them.
    """
    settings = resolve(config, {"task": task, "data": data})
    from securefl.data.check import as_tree
    from securefl.data.check import check as check_data

    show_reading()
    report = check_data(settings.data)
    if html is not None:
        from securefl.data.check_page import page

        with html.open("x", encoding="utf-8") as file:
            file.write(page(report))
    if format == "json":
        print_json(as_tree(report), str)
    else:
        from securefl_cli.rendering.data_check import print_check

        print_check(report)
        if html is not None:
            console().whole(f"Wrote {html}.")
    return 2 if report.refused else 0
