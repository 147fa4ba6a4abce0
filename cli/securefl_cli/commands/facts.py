"""`securefl facts`."""

from __future__ import annotations

from pathlib import Path

import click

from securefl_cli.options.run import from_option, resolve
from securefl_cli.rendering.screen import console, copyable, labelled


@click.command(
    short_help="Write the facts that members on machines of their own agree on.",
    epilog="""\b
    Examples:
      securefl facts run.toml --out agreed.facts
      securefl facts run.toml --from last/north/model --out agreed.facts
      securefl facts weekly.toml --out facts
    """,
)
@click.argument("config", type=click.Path(path_type=Path), metavar="CONFIG.toml")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The new file; a new folder where the configuration has a schedule.",
)
@from_option
def facts(*, config: Path, out: Path, from_: Path | None) -> None:
    """Write the products, calendar and sizes that all members share.

    Every party reads this file; docs/howto/network.md says what is in it. It comes from the tables
    of all members, or, where the configuration has data.period, from catalogue and period alone.
    Of a schedule, each run has a file of its own, in the folder FILE.
    """
    from securefl.federation.services.public_facts import make_all_facts, make_facts

    resolved = resolve(config, {}, from_)
    single = resolved.schedule is None
    made = [make_facts(resolved, out)] if single else make_all_facts(resolved, out)
    shown = console()
    shown.whole(f"Wrote {out}")
    if resolved.start is not None and resolved.start.model is not None:
        shown.whole(f"Goes on from: {resolved.start.model} (start.model of the agreement)")
    for number, one in enumerate(made, 1):
        shown.whole(f"SHA-256: {one.digest.hex()}" + ("" if single else f"  (run {number})"))
    labelled(
        shown, "Next", "give it to every member and to the coordinator, who compare the digests."
    )
    if resolved.goes_on:
        copyable(shown, "", f"securefl agreement amend AGREEMENT --config {config} --from {from_}")
    else:
        copyable(shown, "", "securefl agreement ca DIR --host NAME")
