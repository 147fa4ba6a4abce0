"""`securefl run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from securefl.config.load import other_default
from securefl_cli.group import Interrupted
from securefl_cli.options.run import (
    book_option,
    format_option,
    from_option,
    policy_option,
    quiet_option,
    resolve,
    run_options,
)
from securefl_cli.rendering.disclosures import say_disclosed
from securefl_cli.rendering.progress import watch
from securefl_cli.rendering.reading import show_reading
from securefl_cli.rendering.screen import Screen, print_json

if TYPE_CHECKING:
    from securefl.config.schema import RunConfig
    from securefl.consortium.ledger.paths import LedgerPaths

_RESUME_TAKES = {"resume", "format", "quiet"}


@click.command(
    short_help="Train over all retailers and compare with training alone.",
    epilog="""\b
    Examples:
      securefl run                                  real groceries, five retailers
      securefl run --task demand --rounds 5         demand a week ahead
      securefl run --data tutorial --seed 3         synthetic ratings
      securefl run my.toml --repeat 3 --out runs/a  mean and spread over 3 seeds
      securefl run my.toml --from runs/a            next month, from this one
      securefl run --resume runs/a                  go on after an interruption
      securefl run --format json > result.json      one JSON object, for programs
    """,
)
@run_options
@click.option(
    "--repeat",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Run with N seeds in a row; report mean and spread.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A new directory for the run; runs/<task>-<mode>-seed<seed>-<UTC time> if not given.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Resume an interrupted run; the result is that of an uninterrupted one.",
)
@from_option
@book_option
@policy_option
@format_option
@quiet_option
@click.pass_context
def run(
    ctx: click.Context,
    /,
    *,
    config: Path | None,
    repeat: int,
    out: Path | None,
    resume: Path | None,
    from_: Path | None,
    book: Path | None,
    policy: Path | None,
    format: str,  # noqa: A002 - named after the option
    quiet: bool,
    **options: Any,  # noqa: ANN401 - the run options, as click parsed them
) -> None:
    """Train one model over all retailers, and compare it with each retailer alone.

    CONFIG.toml holds the settings (start one with: securefl config init); options override it.
    Without it, every setting has the default of its task and source.
    """
    if resume is not None:
        _refuse_options_beside_resume(ctx)
        directory = resume
    else:
        from securefl.consortium.ledger.paths import LedgerPaths

        resolved = resolve(config, options, from_)
        if not quiet:
            if said := other_default(resolved):
                Screen(err=True).whole(said)
            say_disclosed(resolved)
        directory = _begin(resolved, repeat, out, LedgerPaths.usual(book, policy))
    from securefl.federation.runs.repeat import resume as carry_on

    if not quiet:
        show_reading()
    try:
        with watch(quiet=quiet) as progress:
            result = carry_on(directory, progress)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; go on with: securefl run --resume {directory}") from None
    if format == "json":
        print_json(result.to_json())
        return
    from securefl.federation.runs.summary import summarise
    from securefl_cli.rendering.tables import print_summary

    print_summary(summarise(result))


def _refuse_options_beside_resume(ctx: click.Context) -> None:
    """Refuse options that a resumed run cannot take: it keeps the settings it was begun with."""
    given = [
        "a configuration" if name == "config" else f"--{name.rstrip('_')}"
        for name in ctx.params
        if name not in _RESUME_TAKES
        and ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(
            f"--resume goes on with the settings of the run; it does not take {', '.join(given)}"
        )


def _begin(
    resolved: RunConfig,
    repeat: int,
    out: Path | None,
    places: LedgerPaths,
) -> Path:
    """Create the run's directory; the settings are checked before anything is written."""
    from securefl.federation.runs.directory import RunDirectory, default_path
    from securefl.federation.runs.repeat import RepeatDirectory

    path = out or default_path(resolved, resolved.mode)
    if repeat == 1:
        RunDirectory.create(path, resolved, places)
    else:
        RepeatDirectory.create(path, resolved, repeat, places)
    return path
