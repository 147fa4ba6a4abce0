"""The broker before a run: its certificate, our login, its store, and what time others have."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509

from securefl.consortium.agreement.model import Broker
from securefl.consortium.agreement.signatures import SKEW
from securefl.errors import SecureflError
from securefl.federation.services.bootstrap import ConnectionContext
from securefl.federation.services.finding import Finding, faulty
from securefl.federation.transport.faults import StandingFaults
from securefl.federation.transport.nats.broker_faults import code_of
from securefl.federation.transport.nats.connection import NatsClient
from securefl.federation.transport.nats.coordinator_watch import ask
from securefl.federation.transport.nats.store_watch import broker_clock
from securefl.federation.transport.nats.storing import kept

_SECONDS: Final = 5.0
_WARN_DAYS: Final = 14
_RENEW: Final = (
    "renew it before then: move broker.pem and broker.key away, securefl agreement ca DIR --host"
    " NAME, restart the broker"
)
_LARGEST_GREETING: Final = 1 << 16


@dataclass(frozen=True)
class _Greeting:
    """What the broker says of itself: its certificate (DER), verified, and its own description."""

    certificate: bytes
    described: dict[str, Any]


def look_at_broker(context: ConnectionContext, at: datetime | None) -> Iterator[Finding]:
    """Yield the findings `certificate`, `connection` and `clock`, in this order.

    Args:
        context: The party and the run.
        at: This machine's clock; None for now.
    """
    broker = context.signed.agreement.broker
    assert broker is not None
    try:
        greeting = _greeting(broker)
    except (OSError, ValueError) as error:
        yield from _unreachable(("certificate", "connection"), code_of(error), at)
        return
    yield _certificate(broker, greeting, at or datetime.now(UTC))
    yield from _logged_in(context, greeting, at)


def _unreachable(checks: tuple[str, ...], code: str, at: datetime | None) -> Iterator[Finding]:
    """Yield the same fault for all checks that it keeps from being made, and the clock alone."""
    for name in checks:
        yield faulty(name, code)
    yield Finding("clock", True, f"{_time(at)}; not compared, as there is no connection")


def _greeting(broker: Broker) -> _Greeting:
    """Return the broker's greeting.

    Raises:
        OSError: If there is none, or its certificate is not of the agreement's authority.
        ValueError: If what answers is no broker.
    """
    # TLS comes before the greeting, which NATS otherwise says in the clear.
    host, _, port = broker.url.removeprefix("tls://").rpartition(":")
    context = ssl.create_default_context(cadata=broker.authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with (
        socket.create_connection((host, int(port)), timeout=_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        certificate = secure.getpeercert(binary_form=True) or b""
        line = secure.recv(_LARGEST_GREETING)
    described = json.loads(line.removeprefix(b"INFO ") or b"{}")
    return _Greeting(certificate, described if isinstance(described, dict) else {})


def _certificate(broker: Broker, greeting: _Greeting, now: datetime) -> Finding:
    ends = [
        x509.load_pem_x509_certificate(broker.authority.encode()).not_valid_after_utc,
        x509.load_der_x509_certificate(greeting.certificate).not_valid_after_utc,
    ]
    left = (min(ends) - now).days
    if left < _WARN_DAYS:
        return Finding("certificate", False, f"it ends in {left} days", _RENEW)
    said = f"the broker has the authority's, good for {left} days"
    return Finding("certificate", True, said)


def _logged_in(
    context: ConnectionContext, greeting: _Greeting, at: datetime | None
) -> Iterator[Finding]:
    faults = StandingFaults()
    try:
        with context.connected(_SECONDS, faults) as link:
            seconds = link.round_trip()
            yield _store(context, link, greeting, seconds)
            yield _clock(context, link, at)
    except SecureflError:
        yield from _unreachable(("connection",), faults.code("connection") or "lost", at)


def _store(
    context: ConnectionContext, link: NatsClient, greeting: _Greeting, seconds: float
) -> Finding:
    if not greeting.described.get("jetstream"):
        return faulty("connection", "jetstream-off")
    layout, name = context.run.layout, context.name
    # Empty, so that its reader drops it: the one way to see whether the broker keeps messages.
    subject = (
        layout.to_member(min(context.run.members)) if name is None else layout.from_member(name)
    )
    code = link.run(kept(link, subject, _SECONDS))
    who = "the coordinator" if name is None else name
    said = f"logged in as {who}, round trip {1000 * seconds:.0f} ms"
    if code == "store-gone":
        # As before the first start of a run: the coordinator makes the streams.
        return Finding("connection", True, f"{said}; the coordinator has made no streams yet")
    return faulty("connection", code) if code else Finding("connection", True, said)


def _clock(context: ConnectionContext, link: NatsClient, at: datetime | None) -> Finding:
    """Compare this clock with the coordinator's, or the coordinator's with the broker's."""
    if context.name is None:
        stream = context.run.layout.up(min(context.run.members))
        theirs, whose = link.run(broker_clock(link, stream)), "the broker"
    else:
        theirs = link.run(ask(link, context.run.layout.beat(context.name), _SECONDS))
        whose = "the coordinator"
    if theirs is None:
        return Finding("clock", True, f"{_time(at)}; not compared: {whose} says no time now")
    ahead = (at or datetime.now(UTC)).timestamp() - theirs
    way = "ahead of" if ahead > 0 else "behind"
    said = f"{_time(at)}, {abs(ahead):.0f} s {way} the one of {whose}"
    if abs(ahead) > SKEW.total_seconds():
        return Finding(
            "clock", False, said, "set the clock that is wrong; use NTP on both machines"
        )
    return Finding("clock", True, said)


def _time(at: datetime | None) -> str:
    return f"{at or datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
