"""`securefl agreement`: write, show and replace an agreement."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from securefl_cli.group import LazyGroup
from securefl_cli.options.run import format_option, from_option
from securefl_cli.rendering.screen import console, print_json

CommandT = TypeVar("CommandT", bound=Callable[..., Any])
DAYS = click.IntRange(1, 36_500)
"""A century: no date beyond the year 9999 comes out of it."""
_HERE = "securefl_cli.commands.agreement.main"
_KEYS = "securefl_cli.commands.agreement.keys"
_BROKER = "securefl_cli.commands.agreement.broker"
_COMMANDS = {
    "new": (f"{_HERE}:new", "Write an agreement from a configuration and cards."),
    "add": (f"{_HERE}:add", "Add members to an agreement without signatures."),
    "show": (f"{_HERE}:show", "Print an agreement and its signatures."),
    "sign": (f"{_KEYS}:sign", "Sign it with your key."),
    "verify": (f"{_KEYS}:verify", "Say whether it is in force, and fits your policy."),
    "amend": (f"{_HERE}:amend", "Write the version that replaces a signed one."),
    "rotate": (f"{_KEYS}:rotate", "Replace your own key by a new one."),
    "revoke": (f"{_KEYS}:revoke", "Sign that another member's key is void."),
    "ca": (f"{_BROKER}:ca", "Make the certificates for the broker."),
    "broker-config": (f"{_BROKER}:broker_config", "Write the configuration of the broker."),
}


def agreement_argument(command: CommandT) -> CommandT:
    """Add the argument of the agreement's file."""
    return click.argument("agreement", type=click.Path(path_type=Path), metavar="AGREEMENT")(
        command
    )


def cards_option(name: str, text: str) -> Callable[[CommandT], CommandT]:
    """Return an option of members' cards, which can be repeated."""
    return click.option(
        name, multiple=True, type=click.Path(path_type=Path), metavar="CARD", help=text
    )


_MEETING = (
    click.option(
        "--coordinator",
        type=click.Path(path_type=Path),
        metavar="CARD",
        help="Card of the coordinator, for members on machines of their own.",
    ),
    click.option("--broker", metavar="URL", help="Address of the broker, tls://host:port."),
    click.option(
        "--ca",
        type=click.Path(path_type=Path),
        metavar="PEM",
        help="Certificate of the authority that the broker's certificate comes from.",
    ),
)


def meeting_options(command: CommandT) -> CommandT:
    """Add the options of the coordinator and the broker."""
    for option in reversed(_MEETING):
        command = option(command)
    return command


def _meeting(broker: str | None, ca: Path | None) -> tuple[str, Path] | None:
    if broker is None and ca is None:
        return None
    if broker is None or ca is None:
        raise click.UsageError("--broker and --ca belong together")
    return broker, ca


@click.group(cls=LazyGroup, commands_from=_COMMANDS)
def agreement() -> None:
    """What the members of a consortium agree on and sign, and the keys that they sign with."""


@click.command(
    epilog="""\b
    Examples:
      securefl agreement new agreement.toml --config run.toml --card north.card
      securefl agreement new agreement.toml --name grocers --config run.toml \\
          --card north.card --card south.card --card west.card \\
          --coordinator hub.card --broker tls://hub.example.com:4222 --ca ca.pem
    """
)
@agreement_argument
@click.option("--name", default="consortium", show_default=True, metavar="NAME", help="Its name.")
@click.option(
    "--config",
    required=True,
    type=click.Path(path_type=Path),
    metavar="CONFIG.toml",
    help="What is trained, and under which protection.",
)
@cards_option("--card", "Card of a member; once for each.")
@click.option(
    "--days", type=DAYS, default=365, show_default=True, metavar="N", help="How long it lasts."
)
@click.option(
    "--least",
    multiple=True,
    type=(str, click.IntRange(min=1)),
    metavar="TASK N",
    help="Fewest members in any sum of a task; once for each task.",
)
@meeting_options
def new(
    *,
    agreement: Path,
    name: str,
    config: Path,
    card: tuple[Path, ...],
    days: int,
    least: tuple[tuple[str, int], ...],
    coordinator: Path | None,
    broker: str | None,
    ca: Path | None,
) -> None:
    """Write an agreement to the new file AGREEMENT. Compare the fingerprints by phone."""
    from securefl.consortium.agreement.drafting import draft
    from securefl_cli.options.run import resolve

    now = datetime.now(UTC)
    draft(
        agreement,
        name,
        card,
        resolve(config, {}),
        created=now,
        expires=now + timedelta(days=days),
        coordinator=coordinator,
        meeting=_meeting(broker, ca),
        least_members=dict(least),
    )
    _print_draft(agreement)


@click.command(
    epilog="""\b
    Examples:
      securefl agreement add agreement.toml east.card centre.card
    """
)
@agreement_argument
@click.argument(
    "cards", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="CARD..."
)
@format_option
def add(
    *,
    agreement: Path,
    cards: tuple[Path, ...],
    format: str,  # noqa: A002 - named after the option
) -> None:
    """Add members by their cards. An agreement that was signed is replaced with `amend`."""
    from securefl.consortium.agreement.drafting import add_members

    add_members(agreement, cards)
    if format == "json":
        _print_json(agreement)
    else:
        _print_draft(agreement)


@click.command(
    epilog="""\b
    Examples:
      securefl agreement show agreement.toml
      securefl agreement show agreement.toml --format json
    """
)
@agreement_argument
@format_option
def show(
    *,
    agreement: Path,
    format: str,  # noqa: A002 - named after the option
) -> None:
    """Print AGREEMENT, its signatures, and whether it is in force."""
    if format == "json":
        _print_json(agreement)
        return
    from securefl.consortium.agreement.workflow import status
    from securefl_cli.rendering.agreement import print_agreement

    print_agreement(status(agreement, datetime.now(UTC)), str(agreement))


@click.command(
    epilog="""\b
    Examples:
      securefl agreement amend agreement.toml --add isle.card
      securefl agreement amend agreement.toml --remove west --days 365
      securefl agreement amend agreement.toml --config new.toml --out b.toml
      securefl agreement amend a.toml --config next.toml --from last/model
    """
)
@agreement_argument
@cards_option("--add", "Card of a new member; once for each.")
@click.option("--remove", multiple=True, metavar="NAME", help="A member that leaves.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="CONFIG.toml",
    help="What is trained from now on.",
)
@from_option
@meeting_options
@click.option("--quorum", type=click.IntRange(min=1), metavar="N", help="How many have to sign.")
@click.option("--days", type=DAYS, metavar="N", help="How long it lasts from now.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The new file; beside the old one, with the version in its name, if not given.",
)
def amend(
    *,
    agreement: Path,
    add: tuple[Path, ...],
    remove: tuple[str, ...],
    config: Path | None,
    from_: Path | None,
    quorum: int | None,
    days: int | None,
    coordinator: Path | None,
    broker: str | None,
    ca: Path | None,
    out: Path | None,
) -> None:
    """Write the version that replaces AGREEMENT. All keys stay the same; all members sign again."""
    from securefl.consortium.agreement.drafting import replacement
    from securefl_cli.options.run import resolve

    if from_ is not None and config is None:
        raise click.UsageError("--from belongs to a --config")
    now = datetime.now(UTC)
    written = replacement(
        agreement,
        out,
        created=now,
        expires=None if days is None else now + timedelta(days=days),
        added=add,
        removed=frozenset(remove),
        quorum=quorum,
        config=None if config is None else resolve(config, {}, from_),
        coordinator=coordinator,
        meeting=_meeting(broker, ca),
    )
    console().whole(f"Wrote {written}; {agreement} stays in force until it is signed.")
    _print_draft(written)


def _print_draft(path: Path) -> None:
    from securefl.consortium.agreement.workflow import status
    from securefl_cli.rendering.agreement import print_agreement
    from securefl_cli.rendering.screen import console, labelled

    print_agreement(status(path, datetime.now(UTC)), str(path))
    labelled(
        console(),
        "",
        "Before that: every member compares every fingerprint with its owner, by phone.",
    )


def _print_json(path: Path) -> None:
    from securefl.consortium.agreement.workflow import status
    from securefl_cli.rendering.agreement import agreement_json

    print_json(agreement_json(status(path, datetime.now(UTC))))
