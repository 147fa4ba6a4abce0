"""`securefl audit checkpoint`, `witnessed` and `sign`: what other programs are given and say."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from securefl_cli.commands.audit.main import bundle_argument
from securefl_cli.options.passphrase import key_option, passphrase_option, unlocked
from securefl_cli.options.run import time_limit_option
from securefl_cli.rendering.screen import console, copyable, labelled


@click.command(
    short_help="Write what witnesses outside are shown.",
    epilog="""\b
    Examples:
      securefl audit checkpoint bundle.json --key hub.key --out witness
    """,
)
@bundle_argument
@key_option
@passphrase_option
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A new folder: a request and a note for each head of the log.",
)
@time_limit_option
def checkpoint(
    *, bundle: Path, key: Path, passphrase_file: Path | None, out: Path, time_limit: float
) -> None:
    """Write every head of BUNDLE.json as a C2SP checkpoint, signed with your key.

    Only a digest that stands for the run, the size and the root of its log are in it.
    """
    from securefl.audit.bundle.inputs import read_bundle
    from securefl.audit.bundle.time_limit import deadline
    from securefl.audit.bundle.witnesses import requests
    from securefl.consortium.ledger.checkpoint import ED25519, Verifier, origin_of
    from securefl.federation.runs.directory import make_empty
    from securefl.ml.tensor_io import write_atomically

    private = unlocked(key, passphrase_file)
    with deadline(time_limit, f"reading {bundle}"):
        content = read_bundle(bundle)
        written = list(requests(content, private))
    make_empty(out)
    for count, (note, request) in enumerate(written, 1):
        write_atomically(out / f"{count:06d}.note", note.to_text().encode())
        write_atomically(out / f"{count:06d}.request", request.encode())
    screen = console()
    origin = origin_of(content.run)
    copyable(screen, "Wrote", f"{len(written)} checkpoints to {out}")
    copyable(screen, "Log key", Verifier(origin, ED25519, private.public).to_text())
    labelled(
        screen,
        "Next",
        "give the log key to a witness, post the requests in their order to its add-checkpoint, and"
        " append each answer to the note of the same number.",
    )


@click.command(
    short_help="Check what witnesses outside have signed.",
    epilog="""\b
    Examples:
      securefl audit witnessed bundle.json --note 000003.note --witness VKEY
    """,
)
@bundle_argument
@click.option(
    "--note",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The note with the witnesses' lines.",
)
@click.option(
    "--witness", "keys", required=True, multiple=True, metavar="VKEY", help="Its key; repeatable."
)
@time_limit_option
@click.pass_context
def witnessed(
    ctx: click.Context, /, *, bundle: Path, note: Path, keys: tuple[str, ...], time_limit: float
) -> None:
    """Say which witnesses signed that the log of BUNDLE.json only grew.

    Exit code 0 if all named ones signed the whole of it, 3 if one did not or if it went on after
    that, and 2 if a signature is wrong or the note is of another log.
    """
    from securefl.audit.bundle.inputs import read_bundle
    from securefl.audit.bundle.time_limit import deadline
    from securefl.audit.bundle.witnesses import witnessed as compared
    from securefl.consortium.ledger.checkpoint import LARGEST_NOTE, Verifier, read_note
    from securefl.untrusted.files import read_text
    from securefl_cli.rendering.witness import print_witnessed

    signed = read_note(read_text(note, LARGEST_NOTE))
    verifiers = [Verifier.from_text(key) for key in keys]
    with deadline(time_limit, f"reading {bundle}"):
        found = compared(read_bundle(bundle), signed, verifiers)
    ctx.exit(print_witnessed(found))


@click.command(
    short_help="Sign a run's model for other tools.",
    epilog="""\b
    Examples:
      securefl audit sign bundle.json --model model.safetensors --key north.key \\
          --out signed
    """,
)
@bundle_argument
@click.option(
    "--model",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="The model.safetensors that the run ended with; any other is refused.",
)
@key_option
@passphrase_option
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A new folder: the signature, and the certificate with your identity key.",
)
@time_limit_option
def sign(
    *,
    bundle: Path,
    model: Path,
    key: Path,
    passphrase_file: Path | None,
    out: Path,
    time_limit: float,
) -> None:
    """Audit BUNDLE.json and sign the model that its run ended with, as a Sigstore bundle.

    Tools for signed models verify it without knowing of runs; docs/howto/audit.md says how.
    """
    from securefl.audit.bundle.time_limit import deadline
    from securefl.audit.sign import sign_model

    private = unlocked(key, passphrase_file)
    with deadline(time_limit, f"the audit of {bundle}"):
        signature, certificate = sign_model(bundle, model, private, out, datetime.now(UTC))
    screen = console()
    copyable(screen, "Wrote", str(signature))
    copyable(screen, "Certificate", f"{certificate}  (it holds your identity key, and no secret)")
    copyable(
        screen,
        "Verify",
        f"securefl audit verify {bundle} --model {model} --signature {signature}",
    )
