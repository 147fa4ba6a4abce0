"""What stands between a party and a run: each thing looked at once, with what to mend."""

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
    """One thing that was looked at.

    Attributes:
        name: What it was.
        fine: Whether it stands in no run's way.
        said: What was seen, in one line.
        mend: What to do about it; empty where nothing is to be done.
    """

    name: str
    fine: bool
    said: str
    mend: str = ""


@dataclass(frozen=True)
class PreflightContext:
    """Whose way into a run is looked at.

    Attributes:
        agreement: The agreement's file.
        key: The party's key.
        facts: The agreed facts.
        run: What the run is called.
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


def examine(patient: PreflightContext, at: datetime | None = None) -> Iterator[Finding]:
    """Look at everything, cheap things first; later ones are left out where they make no sense."""
    now = at or datetime.now(UTC)
    yield _looked("clock", lambda: _clock(patient, now), "set the clock; use NTP")
    yield _looked(
        "agreement", lambda: _agreement(patient, now), "see: securefl agreement show AGREEMENT"
    )
    yield _looked("policy", lambda: _policy(patient, now), "change the policy, or do not take part")
    yield _looked("disk", lambda: _disk(patient), "make room, or name another --state")
    try:
        context = connection_context(
            patient.agreement, patient.key, patient.facts, patient.run, at=now
        )
    except SecureflError as error:
        yield Finding("key and facts", False, str(error), "use the key and the facts agreed on")
        return
    yield Finding(
        "key and facts", True, f"{_who(context)}, facts {context.facts.digest.hex()[:16]}"
    )
    if context.name is not None:
        yield _looked("data", lambda: _data(context, patient), "see: securefl data describe")
    yield _looked(
        "certificate",
        lambda: _certificate(context, now),
        "renew it: securefl agreement ca; if it is another authority's, somebody is in between",
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


def _clock(patient: PreflightContext, now: datetime) -> str:
    created = from_timestamp(read_signed(patient.agreement).agreement.created)
    if created - now > SKEW:
        raise ValueError(
            f"this clock shows {now:%Y-%m-%d %H:%M} UTC, before the agreement was made"
        )
    return f"{now:%Y-%m-%d %H:%M:%S} UTC; {SKEW.seconds // 60} minutes of difference are tolerated"


def _agreement(patient: PreflightContext, now: datetime) -> str:
    signed = read_signed(patient.agreement)
    standing = admit(signed, now)
    return f"in force until {signed.agreement.expires}, {len(standing.members)} members"


def _policy(patient: PreflightContext, now: datetime) -> str:
    if patient.policy is None:
        return "none: whatever is agreed is done"
    rules: Policy = load_policy(patient.policy)
    admit(read_signed(patient.agreement), now, policy=rules)
    return f"{patient.policy} allows it"


def _disk(patient: PreflightContext) -> str:
    patient.state.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=patient.state) as file:
        file.write(bytes(4096))
    free = shutil.disk_usage(patient.state).free
    if free < _WARN_BYTES:
        raise ValueError(f"{patient.state} has {free >> 20} MiB left")
    return f"{patient.state} can be written, {free >> 30} GiB left"


def _data(context: ConnectionContext, patient: PreflightContext) -> str:
    from securefl.federation.services.member import own_tables
    from securefl.tasks.registry import create_task

    assert context.name is not None
    tables = own_tables(context.config, context.name, patient.data)
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
    """Return the certificate that the broker shows, checked against the agreement's authority.

    NATS begins in the clear with one line of JSON and changes to TLS after it.
    """
    host, _, port = broker.url.removeprefix("tls://").rpartition(":")
    context = ssl.create_default_context(cadata=broker.authority)
    with socket.create_connection((host, int(port)), timeout=_SECONDS) as plain:
        plain.recv(1 << 16)
        with context.wrap_socket(plain, server_hostname=host) as secure:
            return secure.getpeercert(binary_form=True) or b""


def _connection(context: ConnectionContext) -> str:
    with context.connected(_SECONDS) as link:
        seconds = link.round_trip()
    return f"let in as {_who(context)}, there and back in {1000 * seconds:.0f} ms"
