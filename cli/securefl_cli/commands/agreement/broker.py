"""`securefl agreement ca` and `securefl agreement broker-config`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from securefl_cli.commands.agreement.main import DAYS, agreement_argument
from securefl_cli.options.passphrase import passphrase, passphrase_option


@click.command(
    epilog="""\b
    Examples:
      securefl agreement ca tls --host hub.example.com
      securefl agreement ca tls --host localhost --host 127.0.0.1 --days 90
    """
)
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--host",
    required=True,
    multiple=True,
    metavar="NAME",
    help="Name or address under which members reach the broker; once for each.",
)
@click.option(
    "--days",
    type=DAYS,
    default=365,
    show_default=True,
    metavar="N",
    help="How long the broker's certificate lasts.",
)
@passphrase_option
def ca(*, folder: Path, host: tuple[str, ...], days: int, passphrase_file: Path | None) -> None:
    """Make the broker's certificate in DIR, and the authority for it where DIR has none."""
    from securefl.consortium.keys.tls_certificates import (
        AUTHORITY_KEY,
        create_authority,
        issue_broker,
    )

    now, fresh = datetime.now(UTC), not (folder / AUTHORITY_KEY).exists()
    secret = passphrase(passphrase_file, "Passphrase of the authority", twice=fresh)
    if fresh:
        create_authority(folder, "securefl consortium", secret, now)
    certificate = issue_broker(folder, host, secret, now, days)
    from securefl_cli.rendering.screen import console, copyable, labelled

    out = console()
    copyable(out, "Authority", f"{folder / 'ca.pem'}  (public; it goes into the agreement)")
    copyable(out, "", f"{folder / 'ca.key'}  (encrypted; only to renew the certificate)")
    copyable(out, "Broker", f"{certificate}, {folder / 'broker.key'}  (for the broker's machine)")
    labelled(out, "Next", "name both in the agreement:")
    copyable(
        out,
        "",
        "securefl agreement new AGREEMENT --config CONFIG.toml --card CARD"
        f" --coordinator CARD --broker tls://{host[0]}:4222 --ca {folder / 'ca.pem'}",
    )


@click.command(
    epilog="""\b
    Examples:
      securefl agreement broker-config agreement.toml --tls tls
      securefl agreement broker-config agreement.toml --tls tls --store /var/nats
    """
)
@agreement_argument
@click.option(
    "--tls",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder with broker.pem and broker.key on the broker's machine.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Where the configuration is written; here if not given.",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the broker keeps messages; 'jetstream' beside the configuration if not given.",
)
def broker_config(*, agreement: Path, tls: Path, out: Path, store: Path | None) -> None:
    """Write nats-server.conf: TLS, a login key for each member, permissions for its subjects."""
    from securefl.consortium.agreement.storage import read_signed
    from securefl.federation.transport.nats.broker_config import write_broker_config

    place = write_broker_config(out, read_signed(agreement), tls, datetime.now(UTC), store)
    from securefl_cli.rendering.screen import console, copyable

    shown = console()
    copyable(shown, "Wrote", f"{place}  (it holds no secret)")
    copyable(shown, "Next", f"nats-server --config {place}")
    copyable(shown, "", f"securefl coordinator {agreement} --key KEY --facts FACTS --out RUN")
    copyable(shown, "", "securefl status RUN")
