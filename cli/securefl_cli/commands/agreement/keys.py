"""`securefl agreement sign`, `verify`, `rotate` and `revoke`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from securefl_cli.commands.agreement.main import agreement_argument
from securefl_cli.options.passphrase import key_option, passphrase_option, unlocked

if TYPE_CHECKING:
    from securefl.consortium.agreement.workflow import Change


@click.command(
    epilog="""\b
    Examples:
      securefl agreement sign agreement.toml --key north.key
    """
)
@agreement_argument
@key_option
@passphrase_option
def sign(*, agreement: Path, key: Path, passphrase_file: Path | None) -> None:
    """Sign AGREEMENT. The signature is a file of its own next to it, to be sent to the others."""
    from securefl.consortium.agreement.storage import read_draft
    from securefl.consortium.agreement.workflow import sign_agreement, status
    from securefl_cli.rendering.agreement import print_standing
    from securefl_cli.rendering.disclosures import print_disclosed
    from securefl_cli.rendering.screen import console, copyable

    out = console()
    print_disclosed(out, read_draft(agreement).config)  # before the passphrase is asked for
    name, place = sign_agreement(agreement, unlocked(key, passphrase_file))
    after = status(agreement, datetime.now(UTC))
    copyable(out, "Signed", f"by {name}")
    copyable(
        out, "Fingerprint", f"{after.fingerprint}  (of the agreement; the same at every member)"
    )
    copyable(out, "Mail", f"{place}  (to all others; put theirs beside {agreement})")
    print_standing(out, after, str(agreement))
    copyable(out, "", f"securefl agreement verify {agreement} --member {name}")


@click.command(
    epilog="""\b
    Examples:
      securefl agreement verify agreement.toml
      securefl agreement verify agreement.toml --member north --policy policy.toml
    """
)
@agreement_argument
@click.option("--member", metavar="NAME", help="You: a member that has signed.")
@click.option(
    "--policy",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Your own policy, which has to allow what was agreed.",
)
def verify(*, agreement: Path, member: str | None, policy: Path | None) -> None:
    """Say whether AGREEMENT is in force: exit code 0 if it is, 2 with the reason if not."""
    from securefl.consortium.agreement.storage import read_signed
    from securefl.consortium.ledger.policy import load_policy
    from securefl.federation.services.admission import admit

    signed = read_signed(agreement)
    rules = None if policy is None else load_policy(policy)
    standing = admit(signed, datetime.now(UTC), member=member, policy=rules)
    from securefl.consortium.encoding.fingerprints import fingerprint
    from securefl_cli.rendering.disclosures import print_disclosed
    from securefl_cli.rendering.screen import console, copyable, labelled

    out = console()
    names = ", ".join(party.name for party in standing.members)
    labelled(out, "In force", f"yes, until {signed.agreement.expires}")
    labelled(out, "Members", names)
    print_disclosed(out, signed.agreement.config)
    copyable(out, "Fingerprint", fingerprint(standing.digest))
    if rules is not None:
        labelled(out, "Policy", f"{policy} allows it")
    if signed.agreement.broker is None:
        labelled(out, "Next", "nothing is missing; for a network, amend it with --broker and --ca.")
    elif member is None:
        copyable(out, "Next", f"securefl agreement broker-config {agreement} --tls DIR")
    else:
        command = f"securefl doctor {agreement} --key {member}.key --facts FACTS --data DIR"
        copyable(out, "Next", command)


@click.command(
    epilog="""\b
    Examples:
      securefl keygen west --out new
      securefl agreement rotate agreement.toml --key west.key --new new/west.key
    """
)
@agreement_argument
@key_option
@click.option(
    "--new",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Your new key, as made by securefl keygen.",
)
@passphrase_option
def rotate(*, agreement: Path, key: Path, new: Path, passphrase_file: Path | None) -> None:
    """Replace your own key in AGREEMENT; no other member has to sign for it."""
    from securefl.consortium.agreement import workflow

    old = unlocked(key, passphrase_file)
    change = workflow.rotate(agreement, old, unlocked(new, passphrase_file))
    _print_change(agreement, change, f"{change.member} has a new key")


@click.command(
    epilog="""\b
    Examples:
      securefl agreement revoke agreement.toml west --key north.key
      securefl agreement revoke a.toml west --key north.key --card new/west.card
    """
)
@agreement_argument
@click.argument("name")
@key_option
@click.option(
    "--card",
    type=click.Path(path_type=Path),
    metavar="CARD",
    help="The member's new card, if it stays a member.",
)
@passphrase_option
def revoke(
    *, agreement: Path, name: str, key: Path, card: Path | None, passphrase_file: Path | None
) -> None:
    """Sign that the key of the member NAME is void; it is when enough others have signed that."""
    from securefl.consortium.agreement import workflow
    from securefl.consortium.agreement.storage import read_card

    replaced = None if card is None else read_card(card)
    change = workflow.revoke(agreement, name, unlocked(key, passphrase_file), replaced)
    _print_change(agreement, change, f"the key of {name} is void")


def _print_change(agreement: Path, change: Change, what: str) -> None:
    from securefl.consortium.agreement.workflow import status
    from securefl_cli.rendering.agreement import print_standing
    from securefl_cli.rendering.screen import console, copyable, labelled

    out = console()
    signatures = f"{change.signatures} of {change.needed} signatures"
    labelled(out, "Statement", f"{what}: {signatures}")
    copyable(out, "Mail", f"{change.file}  (to all others, the coordinator too)")
    print_standing(out, status(agreement, datetime.now(UTC)), str(agreement))
