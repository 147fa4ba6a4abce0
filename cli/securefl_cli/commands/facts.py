"""`securefl facts`."""

from __future__ import annotations

from pathlib import Path

import click

from securefl_cli.options.run import from_option, resolve
from securefl_cli.rendering.screen import console


@click.command(
    short_help="Write the facts that members on machines of their own agree on.",
    epilog="""\b
    Examples:
      securefl facts run.toml --out agreed.facts
      securefl facts run.toml --from last/north/model --out agreed.facts
    """,
)
@click.argument("config", type=click.Path(path_type=Path), metavar="CONFIG.toml")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The new file.",
)
@from_option
def facts(*, config: Path, out: Path, from_: Path | None) -> None:
    """Write the products, calendar and sizes that all members share.

    Every party reads this file; docs/howto/network.md says what is in it. It comes from the tables
    of all members, or, where the configuration has data.period, from catalogue and period alone.
    """
    from securefl.federation.services.public_facts import make_facts

    resolved = resolve(config, {}, from_)
    made = make_facts(resolved, out)
    console().whole(f"Wrote {out}")
    if resolved.start is not None and resolved.start.model is not None:
        console().whole(f"Goes on from: {resolved.start.model} (start.model of the agreement)")
    console().whole(f"SHA-256: {made.digest.hex()}")
    console().whole(
        "Next: give it to every member and to the coordinator, and compare the digests."
    )
