"""`securefl data describe`."""

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
from securefl_cli.rendering.screen import print_json

_COMMANDS = {
    "describe": (
        "securefl_cli.commands.data:describe",
        "Load and check the data, and count what they hold.",
    )
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

    description = count(load(settings.data))
    if format == "json":
        print_json(asdict(description), str)
        return
    from securefl_cli.rendering.tables import print_description

    print_description(description)
