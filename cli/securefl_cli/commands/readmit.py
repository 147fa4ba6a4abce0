"""`securefl readmit`."""

from __future__ import annotations

from pathlib import Path

import click

from securefl_cli.rendering.screen import console


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
