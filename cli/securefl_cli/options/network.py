"""Options that coordinator and members share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from securefl_cli.options.passphrase import key_option, passphrase_option
from securefl_cli.options.run import Real

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


def seconds_option(name: str, default: float, text: str) -> Callable[[CommandT], CommandT]:
    """Return an option of a positive number of seconds."""
    return click.option(
        name,
        type=Real(min=0, min_open=True),
        default=default,
        show_default=True,
        metavar="SECONDS",
        help=text,
    )


own_data_option = click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder with your own tables; no other member's are read.",
)
state_option = click.option(
    "--state",
    type=click.Path(path_type=Path),
    default=Path("securefl-member"),
    show_default=True,
    metavar="DIR",
    help="Folder of the member's state, from which it resumes after a restart.",
)
own_policy_option = click.option(
    "--policy",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Your policy: what you take part in, and the budget of your data.",
)


page_option = click.option(
    "--page",
    type=click.IntRange(1, 65535),
    is_flag=False,
    flag_value="8750",
    metavar="[PORT]",
    help="Serve a live page of the run on this port of this machine alone; 8750 if none is given.",
)


def log_options(command: CommandT) -> CommandT:
    """Add the options of the log."""
    for option in (
        click.option(
            "--log-files",
            type=click.IntRange(1, 1000),
            default=5,
            show_default=True,
            metavar="N",
            help="How many older files are kept; the oldest is deleted.",
        ),
        click.option(
            "--log-size",
            type=click.IntRange(1, 1024),
            default=10,
            show_default=True,
            metavar="MIB",
            help="Size at which the file is replaced by a new one.",
        ),
        click.option(
            "--log",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Write the log to a file of your own in place of stderr, and rotate it.",
        ),
    ):
        command = option(command)
    return command


def schedule_option(text: str) -> Callable[[CommandT], CommandT]:
    """Return the option that takes all runs of an agreed schedule, one after the other."""
    return click.option("--schedule", is_flag=True, help=text)


def connection_options(command: CommandT) -> CommandT:
    """Add the options of the agreement, our key, the agreed facts, and the run."""
    for option in (
        click.option(
            "--run",
            "run_name",
            default="1",
            show_default=True,
            metavar="NAME",
            help="Name of this run of the agreement, the same at every party.",
        ),
        passphrase_option,
        click.option(
            "--facts",
            required=True,
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="The agreed facts, as made by securefl facts; of a schedule, their folder.",
        ),
        key_option,
        click.argument("agreement", type=click.Path(path_type=Path), metavar="AGREEMENT"),
    ):
        command = option(command)
    return command
