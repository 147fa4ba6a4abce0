"""`securefl data describe`, `check`, `init` and `example`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from securefl.untrusted.files import check_new
from securefl_cli.group import LazyGroup
from securefl_cli.options.run import (
    config_argument,
    data_option,
    format_option,
    resolve,
    task_option,
)
from securefl_cli.rendering.reading import print_check, show_reading
from securefl_cli.rendering.screen import console, copyable, print_json

if TYPE_CHECKING:
    from securefl.data.tables import RetailData

_COMMANDS = {
    "describe": (
        "securefl_cli.commands.data:describe",
        "Load and check the data, and count what they hold.",
    ),
    "check": (
        "securefl_cli.commands.data:check",
        "List every fault of the data at once, with its correction.",
    ),
    "align": (
        "securefl_cli.commands.align:align",
        "Find shared rows for unlike catalogues, without showing what each sells.",
    ),
    "init": (
        "securefl_cli.commands.data:init",
        "Look at files and write a configuration that reads them.",
    ),
    "example": (
        "securefl_cli.commands.data:example",
        "Write small generated files of retailers, to try a consortium with.",
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
    """Load the data that a run would train on, check every table, and count what they hold.

    Then ask the task: how many training samples each retailer has, or why it cannot train.
    """
    settings = resolve(config, {"task": task, "data": data})
    from securefl.data.describe import describe as count
    from securefl.data.sources.registry import load
    from securefl.federation.runs.feasible import fit_of

    show_reading()
    tables = load(settings.data)
    description, fit = count(tables), fit_of(settings, tables)
    if format == "json":
        print_json({**asdict(description), "task": asdict(fit)}, str)
        return
    from securefl_cli.rendering.tables import print_description

    print_description(description)
    if fit.reason:
        whole = "A run leaves out" if fit.samples else f"Task {fit.task} cannot train"
        console().line(f"{whole}: {fit.reason}")
    if fit.samples:
        each = ", ".join(f"{name} {samples:,}" for name, samples in fit.samples.items())
        console().line(f"Training samples for task {fit.task}: {each}.")


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
    from securefl.config.template import write_new
    from securefl.data.check import as_tree, page
    from securefl.data.check import check as check_data

    if html is not None:
        check_new(html)  # before minutes of reading
    show_reading()
    report = check_data(settings.data)
    if html is not None:
        write_new(html, page(report))
    if format == "json":
        print_json(as_tree(report), str)
    else:
        print_check(report)
        if html is not None:
            console().whole(f"Wrote {html}.")
    return 2 if report.refused else 0


@click.command(
    epilog="""\b
    Examples:
      securefl data init north.csv south.csv west.csv
      securefl data init sales/ --catalogue products.csv --out shop.toml
      securefl data init a.csv b.csv c.csv --column customer=CardNo
    """
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("securefl.toml"),
    show_default=True,
    metavar="FILE",
    help="The new configuration.",
)
@click.option(
    "--catalogue",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The agreed products; made from the lines, as catalogue.csv, if not given.",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="ROLE=NAME",
    help="Which column is which, where its name does not say: customer, product, time, quantity,"
    " value, price, basket, discount.",
)
def init(
    *, files: tuple[Path, ...], out: Path, catalogue: Path | None, columns: tuple[str, ...]
) -> None:
    """Look at FILES, one file or folder of each retailer, and write a configuration for them."""
    from securefl.config.template import proposal_toml, write_new
    from securefl.data.proposal import propose
    from securefl.data.sources.files.source import silent

    check_new(out)
    proposal = propose(files, out.parent, catalogue, _roles(columns), silent)
    screen = console()
    for line in proposal.said:
        screen.line(line)
    tree, others, said = _with_tasks(proposal.settings, proposal.data, out.parent)
    write_new(out, proposal_toml(tree, [*proposal.said, *said], others))
    screen.whole(f"Wrote {out}. Look at what it leaves out with: securefl data check {out}")
    if proposal.data is not None and tree["task"] not in tree:
        made = str(out) if catalogue else f"{out} and {out.parent / 'catalogue.csv'}"
        screen.whole(
            "No task can train on these lines yet. Export more weeks or more customers of each"
            f" retailer, delete {made}, and repeat this command."
        )
        return
    screen.whole(f"Then train with: securefl run {out}")


@click.command(
    epilog="""\b
    Examples:
      securefl data example . --member north --member south --member west
      securefl data example trial --member north --first 2025-01-06 --days 90
    """
)
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--member",
    "members",
    multiple=True,
    required=True,
    metavar="NAME",
    help="A retailer; once for each.",
)
@click.option(
    "--first",
    type=click.DateTime(("%Y-%m-%d",)),
    default="2025-01-06",
    show_default=True,
    metavar="DATE",
    help="First day of the sales.",
)
@click.option(
    "--days",
    type=click.IntRange(14, 3660),
    default=180,
    show_default=True,
    metavar="N",
    help="How many days.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Of all random draws."
)
def example(
    *, folder: Path, members: tuple[str, ...], first: datetime, days: int, seed: int
) -> None:
    """Write DIR/catalogue.csv, and DIR/MEMBER with a copy of it and generated sales for each."""
    from pydantic import TypeAdapter, ValidationError

    from securefl.config.data import MemberName
    from securefl.data.sources.synthetic.example_files import SALES, write_example

    if not 1900 <= first.year <= 2200:
        raise click.UsageError("--first: a year from 1900 to 2200")
    if len({name.lower() for name in members}) < len(members):
        raise click.UsageError("--member: two have the same name")
    try:
        TypeAdapter(tuple[MemberName, ...]).validate_python(members)
    except ValidationError:
        raise click.UsageError("--member: letters, digits, dots, hyphens, underscores") from None
    screen = console()
    for place in write_example(folder, members, first.date(), days, seed):
        copyable(screen, "Wrote", str(place / SALES))
    copyable(screen, "Next", f"securefl keygen {members[0]}")


def _roles(columns: tuple[str, ...]) -> dict[str, str]:
    from securefl.data.guess import LINE_COLUMNS

    roles = dict(column.partition("=")[::2] for column in columns)
    for role, name in roles.items():
        if role not in LINE_COLUMNS or not name:
            raise click.UsageError(
                f"--column takes ROLE=NAME, and ROLE is {', '.join(LINE_COLUMNS)}"
            )
    return roles


def _with_tasks(
    section: dict[str, Any], data: RetailData | None, folder: Path
) -> tuple[dict[str, Any], dict[str, dict[str, Any]], list[str]]:
    """Return the settings of the first task that the data allow, and what is said of all."""
    from securefl.federation.runs.feasible import feasible_tasks, least_members

    few = least_members(len(section["members"]))
    if data is None:
        return {"task": "recommendation", **few, "data": section}, {}, []
    possible: dict[str, dict[str, Any]] = {}
    said = []
    for found in feasible_tasks(data, {**section, "root": str(folder.resolve())}):
        thin = f" ({found.reason})" if found.reason else ""
        if found.thresholds is None:
            said.append(f"task {found.task}: too thin, with the mildest thresholds too{thin}")
            continue
        possible[found.task] = found.thresholds
        least = min(found.samples.values())
        said.append(f"task {found.task}: {least:,} training samples or more at each{thin}")
    for line in said:
        console().line(line)
    task = next(iter(possible), "recommendation")
    chosen = possible.pop(task, {})
    tree: dict[str, Any] = {"task": task, **few, "data": section}
    return (tree | {task: chosen} if chosen else tree), possible, said
