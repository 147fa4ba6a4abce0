"""`securefl data align`: shared rows for unlike catalogues, without showing what each sells."""

from __future__ import annotations

from pathlib import Path

import click

from securefl_cli.group import LazyGroup
from securefl_cli.options.passphrase import key_option, passphrase_option, unlocked
from securefl_cli.rendering.screen import console

_COMMANDS = {
    "start": (
        "securefl_cli.commands.align:start",
        "Agree on members, length of lists and identity; for the coordinator.",
    ),
    "join": (
        "securefl_cli.commands.align:join",
        "Do a member's steps, as far as the others have got.",
    ),
    "combine": (
        "securefl_cli.commands.align:combine",
        "Find what enough members share; for the coordinator.",
    ),
}
_exchange = click.argument("exchange", type=click.Path(path_type=Path), metavar="EXCHANGE")
_state = click.option(
    "--state",
    type=click.Path(path_type=Path),
    default=Path("align-state"),
    show_default=True,
    metavar="DIR",
    help="Where this party's secrets lie, outside of EXCHANGE.",
)


@click.group(cls=LazyGroup, commands_from=_COMMANDS)
def align() -> None:
    """Align unlike catalogues by messages in the folder EXCHANGE, which all parties reach.

    Each command can be repeated; it does what is possible and says what it waits for.
    """


@click.command(
    epilog="""\b
    Examples:
      securefl data align start shared/ --key hub.key --member north.card \\
          --member south.card --member west.card --size 50000
      securefl data align start shared/ --key hub.key --member a.card \\
          --member b.card --size 9000 --products gtin --attribute category
    """
)
@_exchange
@click.option(
    "--member",
    "members",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    metavar="CARD",
    help="A member's public keys, as its securefl keygen made them; in order.",
)
@key_option
@passphrase_option
@click.option(
    "--size",
    type=int,
    required=True,
    metavar="N",
    help="Length of every list, public: more than any member has of products and groups.",
)
@click.option(
    "--least", type=int, metavar="K", help="Members that must sell a product; all if not given."
)
@click.option(
    "--products",
    type=click.Choice(["label", "gtin"]),
    default="label",
    show_default=True,
    help="What makes two products the same one.",
)
@click.option(
    "--attribute",
    "attributes",
    multiple=True,
    metavar="LEVEL",
    help="Group products without a row by this column, coarsest first: department, category, kind,"
    " brand, size.",
)
@_state
def start(
    *,
    exchange: Path,
    members: tuple[Path, ...],
    key: Path,
    passphrase_file: Path | None,
    size: int,
    least: int | None,
    products: str,
    attributes: tuple[str, ...],
    state: Path,
) -> None:
    """Write the plan of an alignment, and the coordinator's key to the lists into --state."""
    from securefl.consortium.agreement.storage import read_card
    from securefl.consortium.alignment.coordination import begin

    plan = begin(
        exchange,
        state,
        unlocked(key, passphrase_file),
        members=[read_card(card).party() for card in members],
        size=size,
        least=least,
        products=products,
        attributes=attributes,
    )
    screen = console()
    screen.whole(f"Wrote {exchange / 'align.json'}. Members compare this: {plan.fingerprint}")
    screen.whole(f"Each member: securefl data align join {exchange} --key KEY --catalogue FILE")


@click.command(
    epilog="""\b
    Examples:
      securefl data align join shared/ --key north.key --catalogue products.csv
    """
)
@_exchange
@key_option
@passphrase_option
@click.option(
    "--catalogue",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="The member's own products; it stays here.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Where the shared catalogue and this member's rows are written.",
)
@_state
def join(
    *,
    exchange: Path,
    key: Path,
    passphrase_file: Path | None,
    catalogue: Path,
    out: Path,
    state: Path,
) -> None:
    """Do the steps of the member whose KEY it is, and write its rows when all is there."""
    from securefl.consortium.alignment.coordination import join as take_part

    found = take_part(exchange, unlocked(key, passphrase_file), catalogue, state, out)
    screen = console()
    screen.whole(f"Compare with the others: {found.fingerprint}")
    for file in found.written:
        screen.whole(f"Wrote {file}")
    if found.waiting:
        screen.whole(f"Waiting for {', '.join(found.waiting)}; then repeat this command.")
    else:
        screen.whole(
            f"{found.by_product:,} products have a row of their own, {found.by_group:,} that of a"
            f" group, {found.without:,} none."
        )


@click.command(
    epilog="""\b
    Examples:
      securefl data align combine shared/ --key hub.key
    """
)
@_exchange
@key_option
@passphrase_option
@_state
def combine(*, exchange: Path, key: Path, passphrase_file: Path | None, state: Path) -> None:
    """Do the coordinator's step, once every member has sealed its list."""
    from securefl.consortium.alignment.coordination import combine as find

    found = find(exchange, state, unlocked(key, passphrase_file))
    screen = console()
    for file in found.written:
        screen.whole(f"Wrote {exchange / file}")
    if found.waiting:
        screen.whole(f"Waiting for {', '.join(found.waiting)}; then repeat this command.")
