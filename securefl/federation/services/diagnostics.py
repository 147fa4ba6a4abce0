"""Preflight checks of a party before a run, each with how to fix what it finds."""

from __future__ import annotations

import shutil
import socket
import ssl
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from securefl.consortium.agreement.model import Broker
from securefl.consortium.agreement.signatures import SKEW
from securefl.consortium.agreement.storage import read_signed
from securefl.consortium.encoding.jcs import from_timestamp
from securefl.consortium.ledger.policy import Policy, load_policy
from securefl.errors import SecureflError
from securefl.federation.services.admission import admit
from securefl.federation.services.bootstrap import ConnectionContext, connection_context
from securefl_protocols.primitives.signing import SigningKey

_SECONDS = 5.0
_WARN_DAYS = 14
_WARN_BYTES = 1 << 30


@dataclass(frozen=True)
class Finding:
    """The result of one check; the field names are keys of the JSON output.

    Attributes:
        name: The check.
        fine: Whether it passed.
        said: What was found, in one line.
        mend: How to fix it; empty where it passed.
    """

    name: str
    fine: bool
    said: str
    mend: str = ""


@dataclass(frozen=True)
class PreflightContext:
    """The party and the run that are checked.

    Attributes:
        agreement: The agreement's file.
        key: The party's key.
        facts: The agreed facts.
        run: The run's name.
        policy: A member's policy file, if it has one.
        data: The folder of a member's tables, if it has one.
        state: The folder of its journal.
    """

    agreement: Path
    key: SigningKey
    facts: Path
    run: str
    policy: Path | None
    data: Path | None
    state: Path


def examine(party: PreflightContext, at: datetime | None = None) -> Iterator[Finding]:
    """Run all checks, cheap ones first; checks without their preconditions are skipped."""
    now = at or datetime.now(UTC)
    yield _looked("clock", lambda: _clock(party, now), "set the clock; use NTP")
    yield _looked(
        "agreement", lambda: _agreement(party, now), "see: securefl agreement show AGREEMENT"
    )
    yield _looked("policy", lambda: _policy(party, now), "change the policy, or do not take part")
    yield _looked("disk", lambda: _disk(party), "make room, or name another --state")
    try:
        context = connection_context(party.agreement, party.key, party.facts, party.run, at=now)
    except SecureflError as error:
        yield Finding("key and facts", False, str(error), "use the key and the facts agreed on")
        return
    yield Finding(
        "key and facts", True, f"{_who(context)}, facts {context.facts.digest.hex()[:16]}"
    )
    if context.name is not None:
        yield _looked("data", lambda: _data(context, party), "see: securefl data describe")
    yield _looked(
        "certificate",
        lambda: _certificate(context, now),
        "renew it: securefl agreement ca; another authority's may be a man in the middle",
    )
    yield _looked(
        "connection",
        lambda: _connection(context),
        "see that the broker runs with the configuration of this very agreement:"
        " securefl agreement broker-config",
    )


def _looked(name: str, look: Callable[[], str], mend: str) -> Finding:
    try:
        return Finding(name, True, look())
    except (SecureflError, OSError, ValueError) as error:
        return Finding(name, False, " ".join(str(error).split()) or type(error).__name__, mend)


def _who(context: ConnectionContext) -> str:
    return "the coordinator" if context.name is None else context.name


def _clock(party: PreflightContext, now: datetime) -> str:
    created = from_timestamp(read_signed(party.agreement).agreement.created)
    if created - now > SKEW:
        raise ValueError(
            f"this clock shows {now:%Y-%m-%d %H:%M} UTC, before the agreement was made"
        )
    return f"{now:%Y-%m-%d %H:%M:%S} UTC; {SKEW.seconds // 60} minutes of difference are tolerated"


def _agreement(party: PreflightContext, now: datetime) -> str:
    signed = read_signed(party.agreement)
    standing = admit(signed, now)
    return f"in force until {signed.agreement.expires}, {len(standing.members)} members"


def _policy(party: PreflightContext, now: datetime) -> str:
    if party.policy is None:
        return "none: everything that is agreed is allowed"
    rules: Policy = load_policy(party.policy)
    admit(read_signed(party.agreement), now, policy=rules)
    return f"{party.policy} allows it"


def _disk(party: PreflightContext) -> str:
    party.state.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=party.state) as file:
        file.write(bytes(4096))
    free = shutil.disk_usage(party.state).free
    if free < _WARN_BYTES:
        raise ValueError(f"{party.state} has {free >> 20} MiB left")
    return f"{party.state} can be written, {free >> 30} GiB left"


def _data(context: ConnectionContext, party: PreflightContext) -> str:
    from securefl.federation.services.member import own_tables
    from securefl.tasks.registry import create_task

    assert context.name is not None
    tables = own_tables(context.config, context.name, party.data)
    prepared = create_task(context.config).prepare(tables, context.facts.content)
    return f"{len(tables.transactions)} transactions, {prepared.samples} training samples"


def _certificate(context: ConnectionContext, now: datetime) -> str:
    broker = context.signed.agreement.broker
    assert broker is not None
    ends = [
        x509.load_pem_x509_certificate(broker.authority.encode()).not_valid_after_utc,
        x509.load_der_x509_certificate(_shown(broker)).not_valid_after_utc,
    ]
    left = (min(ends) - now).days
    if left < _WARN_DAYS:
        raise ValueError(f"it ends in {left} days")
    return f"the broker has the authority's, good for {left} days"


def _shown(broker: Broker) -> bytes:
    """Return the broker's certificate (DER), verified with the agreement's authority."""
    host, _, port = broker.url.removeprefix("tls://").rpartition(":")
    context = ssl.create_default_context(cadata=broker.authority)
    with (
        socket.create_connection((host, int(port)), timeout=_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        return secure.getpeercert(binary_form=True) or b""


def _connection(context: ConnectionContext) -> str:
    with context.connected(_SECONDS) as link:
        seconds = link.round_trip()
    return f"logged in as {_who(context)}, round trip {1000 * seconds:.0f} ms"
