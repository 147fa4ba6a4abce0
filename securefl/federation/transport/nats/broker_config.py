"""The broker's configuration: TLS, and an account of each party with its own subjects alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from securefl.consortium.agreement.signatures import AgreementStatus, SignedAgreement, check
from securefl.consortium.agreement.storage import write_public
from securefl.consortium.keys.parties import Party
from securefl.consortium.keys.tls_certificates import BROKER, BROKER_KEY
from securefl.errors import AgreementError
from securefl.federation.transport.nats.subjects import (
    COORDINATOR,
    MAX_PAYLOAD,
    Layout,
    Permissions,
    token,
)
from securefl.untrusted.files import replaceable

CONFIG = "nats-server.conf"
MAX_PENDING = 16 * MAX_PAYLOAD
"""Bytes that may wait for a slow reader before the broker disconnects it: two pulls of eight parts.

A pull is made again after six seconds, while parts of the one before may still wait on a slow line.
An agreement does not say how long the model is, so that a part counts as the largest. The limit is
of each connection: for a member that reads nothing of what it says to itself the broker holds
`MAX_CONNECTIONS` times as much.
"""
MAX_CONNECTIONS, MAX_SUBSCRIPTIONS = 8, 64
"""Of one party; a restarted one may have old connections that the broker has not given up yet."""

ALL_CONNECTIONS = 32768
"""Of all, those included that have not logged in yet: a stranger has two seconds for each of them,
and with fewer places could hold them all. Half of what the unit in `deploy` may open as files."""


def broker_id(now: AgreementStatus) -> str:
    """Return the consortium's name on the broker, 16 hex digits."""
    # It changes with every key, so that messages for an old key are on subjects that no party uses.
    return now.digest.hex()[:16]


_MARK = "# securefl agreement broker-config AGREEMENT --tls DIR"


def broker_config(signed: SignedAgreement, now: AgreementStatus, tls: Path, store: Path) -> str:
    """Return the configuration of nats-server for an agreement.

    Only parties of the agreement can connect, and none can read or write another's messages: each
    is in an account of its own, and only what is listed crosses from one account to another.

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
    return "\n".join(
        [
            "# Generated from the agreement; generate it anew when a member or a key changes:",
            _MARK,
            f"server_name: {json.dumps('securefl-' + layout.consortium)}",
            f'listen: "0.0.0.0:{agreement.broker.port}"',
            f"max_payload: {MAX_PAYLOAD}",
            f"max_pending: {MAX_PENDING}",
            f"max_connections: {ALL_CONNECTIONS}",
            f"jetstream {{ store_dir: {json.dumps(str(store))} }}",
            "tls {",
            f"  cert_file: {json.dumps(str(tls / BROKER))}",
            f"  key_file: {json.dumps(str(tls / BROKER_KEY))}",
            '  min_version: "1.3"',
            "  handshake_first: true",
            "}",
            "accounts {",
            *_coordinator_account(agreement.coordinator, now.members, layout),
            *(line for member in now.members for line in _member_account(member, layout)),
            "}",
            "",
        ]
    )


def _coordinator_account(
    coordinator: Party, members: Sequence[Party], layout: Layout
) -> Iterator[str]:
    """Yield the account that has the streams, and exports to each member its services."""
    yield f"  {COORDINATOR}: {{"
    yield "    jetstream: enabled"
    rights = layout.coordinator_rights(member.name for member in members)
    # It listens to each member's heartbeats and messages; and so does a second process that starts.
    yield from _user(coordinator, rights, MAX_SUBSCRIPTIONS + 8 * len(members))
    yield "    exports: ["
    for member in members:
        for service in layout.member_services(member.name):
            many = ", response_type: stream" if service.many else ""
            # Without an answer, each request is remembered that long: 2 minutes if nothing is said.
            many += f', response_threshold: "{service.seconds:g}s"'
            subject, account = json.dumps(service.subject), json.dumps(_account(member))
            yield f"      {{ service: {subject}, accounts: [{account}]{many} }}"
    yield "    ]"
    yield "  }"


def _member_account(member: Party, layout: Layout) -> Iterator[str]:
    yield f"  {json.dumps(_account(member))}: {{"
    yield from _user(member, layout.member_rights(member.name))
    yield "    imports: ["
    for service in layout.member_services(member.name):
        subject = json.dumps(service.subject)
        yield f"      {{ service: {{ account: {COORDINATOR}, subject: {subject} }} }}"
    yield "    ]"
    yield "  }"


def _account(member: Party) -> str:
    """Return the name of a member's account; no member's is the coordinator's."""
    return f"member {token(member.name)}"


def write_broker_config(
    out: Path, signed: SignedAgreement, tls: Path, at: datetime, store: Path | None = None
) -> Path:
    """Write the configuration for an agreement that is in force.

    Args:
        out: Folder of the configuration.
        signed: The agreement.
        tls: Folder with the broker's certificate and key.
        at: The time at which the agreement has to be in force.
        store: Folder in which the broker keeps messages; `jetstream` beside the configuration if
            not given.

    Returns:
        Where it was written.

    Raises:
        AgreementError: If the agreement is not in force, or names no coordinator or broker.
        InputError: If the configuration of another server is there.
    """
    replaceable(out / CONFIG, _MARK.encode())
    kept = (store or out / "jetstream").resolve()
    text = broker_config(signed, check(signed, at), tls.resolve(), kept)
    write_public(out / CONFIG, text)
    return out / CONFIG


def _user(
    party: Party, rights: Permissions, subscriptions: int = MAX_SUBSCRIPTIONS
) -> Iterator[str]:
    connections = f"max_connections: {MAX_CONNECTIONS}"
    yield f"    limits {{ {connections}, max_subscriptions: {subscriptions} }}"
    yield f"    # {party.name}"
    yield "    users: [{"
    yield f"      nkey: {party.broker}"
    yield "      permissions: {"
    yield f"        publish: {{ allow: {json.dumps(list(rights.publish))} }}"
    yield f"        subscribe: {{ allow: {json.dumps(list(rights.subscribe))} }}"
    if rights.answers:
        yield '        allow_responses: { max: 1, expires: "10s" }'
    yield "      }"
    yield "    }]"
