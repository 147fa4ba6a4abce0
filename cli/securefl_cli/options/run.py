"""Options that several commands share, and the configuration that results from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from securefl.config.load import (
    MODES,
    SOURCES,
    UNITS,
    load_config,
    nearest,
)
from securefl.config.overrides import options_tree
from securefl.config.privacy import protections
from securefl.config.schema import RunConfig
from securefl.config.task_registry import TASKS
from securefl.tasks.registry import check_model

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


class Name(click.Choice[str]):
    """A choice of names that suggests the nearest one for a wrong one."""

    def get_invalid_choice_message(self, value: object, ctx: click.Context | None) -> str:
        """Return the text after click's `Invalid value for ...:`."""
        return f"unknown name '{value}'{nearest(str(value), tuple(self.choices))}"


class Real(click.FloatRange):
    """A finite number: of "nan", click's own range finds that it is in every range."""

    name = "number"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as in click
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Return the number, in the range.

        Raises:
            click.BadParameter: If it is none, or not in the range.
        """
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"'{value}' is not a finite number.", param, ctx)
        return number


config_argument = click.argument(
    "config", required=False, type=click.Path(path_type=Path), metavar="[CONFIG.toml]"
)
TASK_HELP = f"What is learned: {', '.join(TASKS)}."
task_option = click.option("--task", type=Name(TASKS), metavar="TASK", help=TASK_HELP)
data_option = click.option(
    "--data",
    type=Name(SOURCES),
    help="Where the data come from; 'files' are your own and need a CONFIG that names them.",
)
format_option = click.option(
    "--format",
    type=Name(("text", "json")),
    default="text",
    show_default=True,
    help="What is written to stdout.",
)
time_limit_option = click.option(
    "--time-limit",
    type=Real(min=0, min_open=True),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="A log that takes longer is refused: it was made to.",
)


def _book(*, exists: bool) -> Callable[[CommandT], CommandT]:
    return click.option(
        "--book",
        type=click.Path(path_type=Path, file_okay=False, exists=exists),
        metavar="DIR",
        help="Folder of the retailers' privacy ledgers; $SECUREFL_HOME/books if not given.",
    )


book_option = _book(exists=False)
kept_book_option = _book(exists=True)
"""Of a mistyped folder, nobody may read that nothing has been spent."""
policy_option = click.option(
    "--policy",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Each retailer's policy, with its cap: one for all, or a folder of <retailer>.toml.",
)
quiet_option = click.option("--quiet", is_flag=True, help="Show no progress.")
_RUN_OPTIONS = (
    config_argument,
    task_option,
    data_option,
    click.option("--model", metavar="NAME", help="One of the task's models."),
    click.option("--mode", type=Name(MODES), help="How the retailers' updates are protected."),
    click.option("--dp", type=Name(protections()), help="How single customers are protected."),
    click.option(
        "--epsilon", type=Real(), metavar="E", help="Budget of the whole run for each customer."
    ),
    click.option(
        "--delta", type=Real(), metavar="D", help="Its delta, below 1 over the customers."
    ),
    click.option("--unit", type=Name(UNITS), help="The privacy unit that the budget is for."),
    click.option("--rounds", type=click.IntRange(min=1), help="Rounds of training.", metavar="N"),
    click.option(
        "--seed", type=click.IntRange(min=0), help="Fixes every random draw.", metavar="N"
    ),
    click.option(
        "--device", type=Name(("auto", "cpu", "cuda")), help="Where the retailers compute."
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=0),
        metavar="N",
        help="Processes that host the retailers; 0 takes one a core where it pays.",
    ),
    click.option(
        "--references/--no-references",
        default=None,
        help="Whether to train each retailer alone, and all data in one place, to compare with.",
    ),
)


from_option = click.option(
    "--from",
    "from_",
    type=click.Path(path_type=Path),
    metavar="MODEL_OR_RUN",
    help="Go on from an earlier run, or from the folder of a model; products are found by label.",
)


def run_options(command: CommandT) -> CommandT:
    """Add the argument of the configuration file and the options that override it."""
    for option in reversed(_RUN_OPTIONS):
        command = option(command)
    return command


def resolve(config: Path | None, options: dict[str, Any], from_: Path | None = None) -> RunConfig:
    """Return the configuration from a file and the options that were given.

    Args:
        config: The file.
        options: The options of `run_options`.
        from_: The earlier run or model that training goes on from.

    Raises:
        ConfigError: If it does not validate, or task and model do not match.
        InputError: If there is no such earlier model.
    """
    resolved = load_config(config, options_tree(**options))
    check_model(resolved)
    if from_ is None:
        return resolved
    from securefl.tasks.served.starting import started_from

    return started_from(resolved, from_)
