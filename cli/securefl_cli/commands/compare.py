"""`securefl compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from securefl.config.overrides import parse_dropouts
from securefl_cli.options.run import format_option, quiet_option, resolve, run_options
from securefl_cli.rendering.disclosures import say_disclosed
from securefl_cli.rendering.progress import watch
from securefl_cli.rendering.reading import show_reading
from securefl_cli.rendering.screen import print_json


@click.command(
    short_help="Check that masked training gives the result of plain training.",
    epilog="""\b
    Examples:
      securefl compare                       real groceries, default settings
      securefl compare --task demand --rounds 5
      securefl compare --data tutorial --drop retailer-2@3:masked-input
      securefl compare --format json > compare.json
    """,
)
@run_options
@click.option(
    "--drop",
    "drops",
    multiple=True,
    metavar="MEMBER@ROUND:STEP",
    help="Have a member vanish in a round; STEP is keys, shares, masked-input, consistency or"
    " unmask. May be given several times.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A new directory for both runs; runs/<task>-compare-seed<seed>-<UTC time> if not given.",
)
@format_option
@quiet_option
@click.pass_context
def compare(
    ctx: click.Context,
    /,
    *,
    config: Path | None,
    drops: tuple[str, ...],
    out: Path | None,
    format: str,  # noqa: A002 - named after the option
    quiet: bool,
    **options: Any,  # noqa: ANN401 - the run options, as click parsed them
) -> None:
    """Train plain and masked from the same seed, and compare the two.

    In every round the masked sum is compared bit by bit with the sum of the same integers in the
    clear, and the mean with float FedAvg. Exits with 1 if a sum differs or a bound is exceeded.
    """
    resolved = resolve(config, options | {"simulation": {"dropouts": parse_dropouts(drops)}})
    from securefl.federation.runs.compare import compare as side_by_side
    from securefl.federation.runs.directory import default_path

    if not quiet:
        say_disclosed(resolved)
        show_reading()
    with watch(quiet=quiet) as progress:
        result = side_by_side(resolved, out or default_path(resolved, "compare"), progress)
    if format == "json":
        print_json(result.to_json())
    else:
        from securefl_cli.rendering.tables import print_comparison

        print_comparison(result)
    ctx.exit(0 if result.holds else 1)
