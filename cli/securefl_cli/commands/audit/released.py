"""`securefl audit released`."""

from __future__ import annotations

from pathlib import Path

import click

from securefl_cli.options.run import format_option
from securefl_cli.rendering.screen import Screen, print_json

_FILE = click.Path(path_type=Path)


@click.command(
    short_help="Check who signed a released model.",
    epilog="""\b
    Example:
      securefl audit released runs/a/released --agreement agreement.json
    """,
)
@click.argument("folder", type=_FILE, metavar="FOLDER")
@click.option(
    "--agreement",
    type=_FILE,
    required=True,
    metavar="FILE",
    help="The agreement, from a member and not from whoever handed out the model.",
)
@format_option
@click.pass_context
def released(
    context: click.Context,
    *,
    folder: Path,
    agreement: Path,
    format: str,  # noqa: A002 - named after the option
) -> None:
    """Check that a released model is the one that the members of an agreement ended a round with.

    Exits with 1 where a member that took part has not signed it.
    """
    from securefl.consortium.agreement.signatures import from_json
    from securefl.federation.runs.released import released_signers
    from securefl.tasks.served.folder import read_manifest
    from securefl.untrusted.documents import read_json
    from securefl.untrusted.files import SMALL

    signed = from_json(read_json(agreement, SMALL), str(agreement))
    signers = released_signers(folder, signed)
    missing = [name for name in read_manifest(folder).members if name not in signers]
    if format == "json":
        print_json({"signed": list(signers), "missing": missing})
    else:
        screen = Screen()
        screen.line(f"Signed by {', '.join(signers) or 'no member'}.")
        if missing:
            screen.line(f"NOT signed by {', '.join(missing)}.", "bold red")
    context.exit(1 if missing or not signers else 0)
