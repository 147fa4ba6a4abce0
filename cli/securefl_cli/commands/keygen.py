"""`securefl keygen`."""

from __future__ import annotations

from pathlib import Path

import click

from securefl_cli.options.passphrase import passphrase, passphrase_option


@click.command(
    short_help="Make the key of a member or a coordinator.",
    epilog="""\b
    Examples:
      securefl keygen north
      securefl keygen hub --out keys --passphrase-file secret.txt
    """,
)
@click.argument("name")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Where both files are written; here if not given.",
)
@click.option(
    "--token",
    metavar="URI",
    help="Make the key in a PKCS #11 token, which it never leaves; or write the card of the key"
    " that is there: pkcs11:token=NAME;object=LABEL?module-path=LIBRARY",
)
@passphrase_option
def keygen(*, name: str, out: Path, token: str | None, passphrase_file: Path | None) -> None:
    """Generate a key for NAME: NAME.key stays with you, NAME.card goes to the others."""
    from securefl.consortium.agreement.workflow import make_key, write_token_card

    if token is None:
        secret = passphrase(passphrase_file, "New passphrase (12 characters or more)", twice=True)
        made = make_key(out, name, secret)
    else:
        from securefl.consortium.keys.token_keys import make_token_key

        pin = passphrase(passphrase_file, "PIN of the token")
        made = write_token_card(out, name, make_token_key(token, pin))
    from securefl_cli.rendering.screen import console, copyable, labelled

    shown = console()
    kept = "encrypted; keep it secret, keep a copy" if token is None else "it never leaves it"
    copyable(shown, "Key", f"{made.key or token}  ({kept})")
    copyable(shown, "Card", f"{made.card}  (public)")
    copyable(shown, "Fingerprint", made.fingerprint)
    labelled(
        shown,
        "Next",
        f"mail {made.card.name} to the author of the agreement, and read the fingerprint to them"
        " by phone: mail can be exchanged on its way, a voice that they know cannot. The author"
        " goes on with what all train on:",
    )
    copyable(shown, "", "securefl facts CONFIG.toml --out FACTS")
