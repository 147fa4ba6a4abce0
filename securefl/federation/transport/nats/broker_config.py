"""The broker's configuration: TLS, and permissions of each party for its own subjects alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from securefl.consortium.agreement.signatures import AgreementStatus, SignedAgreement, check
from securefl.consortium.agreement.storage import write_public
from securefl.consortium.keys.parties import Party
from securefl.consortium.keys.tls_certificates import BROKER, BROKER_KEY
from securefl.errors import AgreementError
from securefl.federation.transport.nats.subjects import MAX_PAYLOAD, Layout, Permissions
from securefl.untrusted.files import replaceable

CONFIG = "nats-server.conf"
MAX_PENDING = 8 * MAX_PAYLOAD
"""Bytes that may wait for a slow reader before the broker disconnects it."""


def broker_id(now: AgreementStatus) -> str:
    """Return the consortium's name on the broker, 16 hex digits."""
    # It changes with every key, so that messages for an old key are on subjects that no party uses.
    return now.digest.hex()[:16]


_MARK = "# securefl agreement broker-config AGREEMENT --tls DIR"


def broker_config(signed: SignedAgreement, now: AgreementStatus, tls: Path, store: Path) -> str:
    """Return the configuration of nats-server for an agreement.

    Only parties of the agreement can connect, and none can read or write another's messages: a
    subject that is not listed is forbidden.

    Args:
        signed: The agreement.
        now: Its members, as `check` returned them.
        tls: Folder with the broker's certificate and key.
        store: Folder in which the broker keeps messages.

    Raises:
        AgreementError: If the agreement names no coordinator or no broker.
    """
    agreement = signed.agreement
    if agreement.coordinator is None or agreement.broker is None:
        missing = "coordinator (--coordinator)" if agreement.coordinator is None else "broker"
        raise AgreementError(f"the agreement names no {missing}")
    layout = Layout(broker_id(now))
    users = [_user(agreement.coordinator, layout.coordinator_rights())]
    users += [_user(member, layout.member_rights(member.name)) for member in now.members]
    return "\n".join(
        [
            "# Generated from the agreement; generate it anew when a member or a key changes:",
            _MARK,
            f"server_name: {json.dumps('securefl-' + layout.consortium)}",
            f'listen: "0.0.0.0:{agreement.broker.port}"',
            f"max_payload: {MAX_PAYLOAD}",
            f"max_pending: {MAX_PENDING}",
            f"jetstream {{ store_dir: {json.dumps(str(store))} }}",
            "tls {",
            f"  cert_file: {json.dumps(str(tls / BROKER))}",
            f"  key_file: {json.dumps(str(tls / BROKER_KEY))}",
            '  min_version: "1.3"',
            "}",
            "authorization {",
            "  users: [",
            *(line for user in users for line in user),
            "  ]",
            "}",
            "",
        ]
    )


def write_broker_config(out: Path, signed: SignedAgreement, tls: Path, at: datetime) -> Path:
    """Write the configuration for an agreement that is in force.

    Messages are kept in a folder `jetstream` beside it.

    Returns:
        Where it was written.

    Raises:
        AgreementError: If the agreement is not in force, or names no coordinator or broker.
        InputError: If the configuration of another server is there.
    """
    replaceable(out / CONFIG, _MARK.encode())
    text = broker_config(signed, check(signed, at), tls.resolve(), (out / "jetstream").resolve())
    write_public(out / CONFIG, text)
    return out / CONFIG


def _user(party: Party, rights: Permissions) -> Iterator[str]:
    yield f"    # {party.name}"
    yield "    {"
    yield f"      nkey: {party.broker}"
    yield "      permissions: {"
    yield f"        publish: {{ allow: {json.dumps(list(rights.publish))} }}"
    yield f"        subscribe: {{ allow: {json.dumps(list(rights.subscribe))} }}"
    yield "      }"
    yield "    }"
