"""`securefl report`."""

from __future__ import annotations

from pathlib import Path

import click

from securefl_cli.options.run import time_limit_option
from securefl_cli.rendering.screen import console


@click.command(
    short_help="Write a finished run as one HTML page.",
    epilog="""\b
    Examples:
      securefl report runs/a                            writes runs/a/report.html
      securefl report runs/a --out report.html
      securefl report runs/private --beside runs/plain  what the protection costs
    """,
)
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option(
    "--beside",
    type=click.Path(path_type=Path),
    metavar="RUN2",
    help="A run of the same task under another protection, to compare with.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to write; report.html in the run's directory if not given.",
)
@time_limit_option
def report(*, run: Path, beside: Path | None, out: Path | None, time_limit: float) -> None:
    """Write a run as one HTML page that needs no network and contains no script.

    The top summarizes for a manager what was gained, what it cost in privacy and who took part;
    below are all figures, the rounds, the result of an audit, and how to verify it.
    """
    from securefl.audit.bundle.time_limit import deadline
    from securefl.audit.report.page import write_report

    with deadline(time_limit, f"the report of {run}"):
        path = write_report(run, out, beside)
    console().whole(f"{path}")
