"""`securefl config show` and `securefl config init`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from securefl.config.load import DEFAULT_SOURCE, SOURCES, dump_toml
from securefl.config.task_registry import DEFAULT_TASK, TASKS
from securefl.config.template import write_starter
from securefl_cli.group import LazyGroup
from securefl_cli.options.run import TASK_HELP, Name, resolve, run_options
from securefl_cli.rendering.disclosures import say_disclosed
from securefl_cli.rendering.screen import console, print_json, print_toml

_COMMANDS = {
    "show": (
        "securefl_cli.commands.config:show",
        "Print the settings of a run, defaults filled in.",
    ),
    "init": ("securefl_cli.commands.config:init", "Write a commented configuration to start from."),
}


@click.group(cls=LazyGroup, commands_from=_COMMANDS)
def config() -> None:
    """Show or start a configuration file."""


@click.command(
    epilog="""\b
    Examples:
      securefl config show --task demand
      securefl config show my.toml --rounds 5 --format json
    """
)
@run_options
@click.option(
    "--format",
    type=Name(("toml", "json")),
    default="toml",
    show_default=True,
    help="How the settings are written.",
)
def show(
    *,
    config: Path | None,
    format: str,  # noqa: A002 - named after the option
    **options: Any,  # noqa: ANN401 - the run options, as click parsed them
) -> None:
    """Print what `securefl run` with the same arguments would use, every default filled in."""
    resolved = resolve(config, options)
    say_disclosed(resolved)
    if format == "json":
        print_json(resolved.model_dump(mode="json"))
    else:
        print_toml(dump_toml(resolved))


@click.command(
    epilog="""\b
    Examples:
      securefl config init
      securefl config init --task demand demand.toml
      securefl config init --data files my.toml
      securefl config init --all all.toml
    """
)
@click.argument(
    "file", type=click.Path(path_type=Path), default=Path("securefl.toml"), metavar="[FILE]"
)
@click.option(
    "--task",
    type=Name(TASKS),
    metavar="TASK",
    default=DEFAULT_TASK,
    show_default=True,
    help=TASK_HELP,
)
@click.option(
    "--data",
    type=Name(SOURCES),
    default=DEFAULT_SOURCE,
    show_default=True,
    help="Where the data come from.",
)
@click.option(
    "--all", "whole", is_flag=True, help="Write every setting, not those alone that matter."
)
def init(*, file: Path, task: str, data: str, whole: bool) -> None:
    """Write a commented configuration to the new FILE (securefl.toml if not given)."""
    write_starter(file, task, data, whole=whole)
    console().whole(f"Wrote {file}. Edit it, look at the data with: securefl data describe {file}")
    console().whole(f"Then train with: securefl run {file}")
