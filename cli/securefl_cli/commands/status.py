"""`securefl status` and `securefl readmit`: a run under way, seen and corrected."""

from __future__ import annotations

from pathlib import Path

import click

from securefl_cli.options.run import format_option
from securefl_cli.rendering.grid import Column, Table
from securefl_cli.rendering.screen import console, labelled, print_json


@click.command(
    short_help="Show what a coordinator or a member does, and which members are there.",
    epilog="""\b
    Examples:
      securefl status securefl-run
      securefl status securefl-run --format json
      securefl status /var/lib/securefl/state
    """,
)
@click.argument("run", type=click.Path(path_type=Path), metavar="DIR")
@format_option
def status(*, run: Path, format: str) -> None:  # noqa: A002 - named after the option
    """Show the run in DIR.

    In a coordinator's run directory: members, steps of the round, who is waited for, bytes, sums
    and epsilon. In a member's state folder: round, step, what it waits for, the last sum that it
    verified, epsilon, and where its model is. What is wrong comes first, with what to do.
    """
    from securefl.federation.services.status import read_any_status
    from securefl.federation.services.status_words import MEMBER_COLUMNS, view

    tree = read_any_status(run)
    if format == "json":
        print_json(tree)
        return
    out, shown = console(), view(tree)
    for fault in shown.faults:
        labelled(out, "Fault", f"{fault.says} ({fault.since})")
        labelled(out, "", f"what to do: {fault.todo}")
    for line in shown.lines:
        labelled(out, line.label, line.text)
    for sum_ in shown.sums[:3]:
        labelled(out, "Sum", f"{sum_.label}: {sum_.text}")
    for step in shown.steps:
        notes = "".join(f"; {note}" for note in step.notes)
        labelled(out, "Step", f"{step.name}: {step.progress} answered, {step.took}{notes}")
    if shown.members:
        columns = [Column(name, right=name.startswith("MB")) for name in MEMBER_COLUMNS]
        out.table(Table(columns, list(shown.members)))


@click.command(
    short_help="Have a coordinator hear a member again that it cut off.",
    epilog="""\b
    Examples:
      securefl readmit securefl-run north
    """,
)
@click.argument("run", type=click.Path(path_type=Path), metavar="DIR")
@click.argument("member", metavar="MEMBER")
def readmit(*, run: Path, member: str) -> None:
    """Hear MEMBER again in the run in DIR, on the machine of its running coordinator.

    A member that floods the coordinator is cut off, for ten minutes the first time and up to a
    day. Once its fault is repaired, this ends that early. What it sent meanwhile is deleted.
    """
    from securefl.federation.services.readmission import readmit as heard_again

    heard_again(run, member)
    console().whole(f"{member} is heard again, from the next round on.")
