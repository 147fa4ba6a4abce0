"""`securefl dossier`."""

from __future__ import annotations

from pathlib import Path

import click

from securefl_cli.options.run import format_option, time_limit_option
from securefl_cli.rendering.screen import console, copyable, print_json


@click.command(
    short_help="Write what lawyers need of a finished run.",
    epilog="""\b
    Examples:
      securefl dossier runs/a                     writes the folder runs/a/dossier
      securefl dossier runs/a --out dossier --attack attack.json
      securefl dossier runs/a --format json > dossier.json
    """,
)
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A new folder; dossier in the run's directory if not given.",
)
@click.option(
    "--attack",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What securefl audit attack --format json wrote; attack.json of RUN if not given.",
)
@click.option(
    "--agreement",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="The agreement as a member gave it to you: agreement.toml or agreement.json.",
)
@time_limit_option
@format_option
@click.pass_context
def dossier(
    ctx: click.Context,
    /,
    *,
    run: Path,
    out: Path | None,
    attack: Path | None,
    agreement: Path | None,
    time_limit: float,
    format: str,  # noqa: A002 - named after the option
) -> None:
    """Write what each party can learn, data protection, NIST, competition and how to verify.

    Figures are those that members signed; whatever else is in it says so. Exits with the verdict
    of the audit: 0, 1 (something is wrong) or 3 (doubtful or incomplete).
    """
    from securefl.audit.bundle.time_limit import deadline
    from securefl.audit.dossier.page import dossier_of, write_dossier

    with deadline(time_limit, f"the dossier of {run}"):
        made = dossier_of(run, attack, out, agreement)
    files = write_dossier(made)
    if format == "json":
        print_json(made.to_json() | {"files": {name: str(path) for name, path in files.items()}})
    else:
        screen = console()
        for path in files.values():
            copyable(screen, "Wrote", str(path))
        copyable(screen, "Verdict", made.evidence.proof.audit.verdict)
    ctx.exit(made.exit_code)
