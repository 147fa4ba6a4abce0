"""`securefl audit`."""

from __future__ import annotations

from pathlib import Path

import click

from securefl_cli.group import LazyGroup
from securefl_cli.options.run import format_option, time_limit_option
from securefl_cli.rendering.screen import console, copyable, print_json

_COMMANDS = {
    "export": ("securefl_cli.commands.audit.main:export", "Write a run's bundle for an auditor."),
    "verify": (
        "securefl_cli.commands.audit.main:verify",
        "Check a bundle, offline; exits with the verdict.",
    ),
    "explain": (
        "securefl_cli.commands.audit.main:explain",
        "Explain a bundle, member by member.",
    ),
    "released": (
        "securefl_cli.commands.audit.main:released",
        "Check who signed a released model.",
    ),
    "checkpoint": (
        "securefl_cli.commands.audit.witness:checkpoint",
        "Write what witnesses outside are shown.",
    ),
    "witnessed": (
        "securefl_cli.commands.audit.witness:witnessed",
        "Check what witnesses outside have signed.",
    ),
    "sign": (
        "securefl_cli.commands.audit.witness:sign",
        "Sign a run's model for other tools.",
    ),
    "attack": (
        "securefl_cli.commands.audit.attack:attack",
        "Attack private training to test its claim.",
    ),
}

bundle_argument = click.argument("bundle", type=click.Path(path_type=Path), metavar="BUNDLE.json")


@click.group(cls=LazyGroup, commands_from=_COMMANDS)
def audit() -> None:
    """Check a run's claims without trusting any party."""


@click.command(
    short_help="Write a run's bundle for an auditor.",
    epilog="""\b
    Examples:
      securefl audit export runs/a --out bundle.json
      securefl audit export runs/a --out bundle.json --open-units
    """,
)
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="BUNDLE.json",
    help="The bundle's file; transcripts go to a folder next to it.",
)
@click.option(
    "--open-units",
    is_flag=True,
    help="Disclose to the auditor each member's number of units, from the ledgers here.",
)
def export(*, run: Path, out: Path, open_units: bool) -> None:
    """Write all that an auditor of RUN needs: entries, tree heads, proofs, transcripts."""
    from securefl.audit.export import export as write

    bundle = write(run, out, open_units=open_units)
    beside = f", {len(bundle.transcripts)} transcripts beside it" if bundle.transcripts else ""
    console().whole(
        f"Wrote {out}: {len(bundle.entries)} entries, {len(bundle.heads)} heads{beside}."
    )
    copyable(console(), "Next", f"securefl audit verify {out}")


@click.command(
    short_help="Check a bundle, offline; exits with the verdict.",
    epilog="""\b
    Examples:
      securefl audit verify bundle.json
      securefl audit verify bundle.json --agreement agreement.toml
      securefl audit verify bundle.json --other theirs.json --other earlier.json
      securefl audit verify bundle.json --model model.safetensors
      securefl audit verify bundle.json --format json > audit.json
    """,
)
@bundle_argument
@click.option(
    "--agreement",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="The agreement as a member gave it to you: agreement.toml or agreement.json.",
)
@click.option(
    "--other",
    "others",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="BUNDLE2.json",
    help="Another bundle of this run, or one of another run on the same data; any number.",
)
@click.option(
    "--model",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="A model.safetensors: is it the one that the run ended with?",
)
@click.option(
    "--signature",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="A signature of that model's file: is it by a party of the agreement?",
)
@click.option("--now", metavar="TIME", help="The time to check against, like 2026-01-31T09:00:00Z.")
@time_limit_option
@format_option
@click.pass_context
def verify(
    ctx: click.Context,
    /,
    *,
    bundle: Path,
    agreement: Path | None,
    others: tuple[Path, ...],
    model: Path | None,
    signature: Path | None,
    now: str | None,
    time_limit: float,
    format: str,  # noqa: A002 - named after the option
) -> None:
    """Check BUNDLE.json against the keys of the agreement, and nothing else.

    Exits with 0 if every check that could be made passes, 3 if one has doubts, and 1 if one fails.
    """
    from securefl.audit.bundle.inputs import moment, pinned_agreement
    from securefl.audit.bundle.time_limit import deadline
    from securefl.audit.verify import verify_file

    with deadline(time_limit, f"the audit of {bundle}"):
        result = verify_file(
            bundle,
            agreement=None if agreement is None else pinned_agreement(agreement),
            others=others,
            model=model,
            signature=signature,
            now=None if now is None else moment(now),
        )
    if format == "json":
        print_json(result.to_json())
    else:
        from securefl_cli.rendering.audit import print_audit

        print_audit(result)
    ctx.exit(result.exit_code)


@click.command(
    short_help="Explain a bundle, member by member.",
    epilog="""\b
    Examples:
      securefl audit explain bundle.json
      securefl audit explain bundle.json --format json > story.json
    """,
)
@bundle_argument
@time_limit_option
@format_option
def explain(*, bundle: Path, time_limit: float, format: str) -> None:  # noqa: A002 - named after the option
    """Print the members of BUNDLE.json, what each did, and what it cost in privacy.

    This is what the bundle claims; `securefl audit verify` checks it.
    """
    from securefl.audit.bundle.inputs import read_bundle
    from securefl.audit.bundle.time_limit import deadline
    from securefl.audit.explain import explain as explained

    with deadline(time_limit, f"the explanation of {bundle}"):
        explanation = explained(read_bundle(bundle))
    if format == "json":
        print_json(explanation.to_json())
        return
    from securefl_cli.rendering.audit import print_explanation

    print_explanation(explanation)


@click.command(
    short_help="Check who signed a released model.",
    epilog="""\b
    Example:
      securefl audit released runs/a/released --agreement agreement.json
    """,
)
@click.argument("folder", type=click.Path(path_type=Path), metavar="FOLDER")
@click.option(
    "--agreement",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="The agreement, from a member and not from the party that handed out the model.",
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

    Exits with 1 where fewer members signed it than have to sign how a round ended. A member that
    was not in the round, or did not see its end, signs none.
    """
    from securefl.audit.bundle.inputs import pinned_agreement
    from securefl.federation.runs.released import released_signers, signers_needed

    signed = pinned_agreement(agreement)
    signers, needed = released_signers(folder, signed), signers_needed(signed)
    missing = [name for name in signed.agreement.names if name not in signers]
    if format == "json":
        print_json({"signed": list(signers), "missing": missing, "needed": needed})
    else:
        screen = console()
        screen.line(f"Signed by {', '.join(signers) or 'no member'}.")
        if missing:
            screen.line(f"NOT signed by {', '.join(missing)}.", "bold red")
        if len(signers) < needed:
            screen.line(f"Too few: {needed} have to sign how a round ended.", "bold red")
    context.exit(1 if len(signers) < needed else 0)
