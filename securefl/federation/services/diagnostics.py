"""Preflight checks of a party before a run, each with how to fix what it finds."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from securefl.consortium.agreement.signatures import SKEW
from securefl.consortium.agreement.storage import read_signed
from securefl.consortium.encoding.jcs import from_timestamp
from securefl.consortium.ledger.policy import Policy, load_policy
from securefl.errors import SecureflError
from securefl.federation.services.admission import admit
from securefl.federation.services.bootstrap import ConnectionContext, connection_context
from securefl.federation.services.broker_checks import look_at_broker
from securefl.federation.services.finding import Finding, looked
from securefl_protocols.primitives.signing import SigningKey

_WARN_BYTES = 1 << 30
_ROOM = "make room, or name another --state"


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
    """Run all checks, cheap ones first; checks without their preconditions are skipped.

    Args:
        party: Who is checked.
        at: This machine's clock; the real one if not given.
    """
    now = at or datetime.now(UTC)
    try:
        read_signed(party.agreement)
    except SecureflError as error:
        # Neither key, facts nor clock can be compared with it.
        yield Finding("agreement", False, str(error), "name the agreement that all members signed")
        yield looked("disk", lambda: _disk(party), _ROOM)
        return
    yield looked(
        "agreement", lambda: _agreement(party, now), "see: securefl agreement show AGREEMENT"
    )
    yield looked("policy", lambda: _policy(party, now), "change the policy, or do not take part")
    yield looked("disk", lambda: _disk(party), _ROOM)
    clock = looked("clock", lambda: _clock(party, now), "set the clock; use NTP")
    try:
        context = connection_context(party.agreement, party.key, party.facts, party.run, at=now)
    except SecureflError as error:
        yield Finding("key and facts", False, str(error), "use the key and the facts agreed on")
        yield clock
        return
    yield Finding(
        "key and facts", True, f"{_who(context)}, facts {context.facts.digest.hex()[:16]}"
    )
    if context.name is not None:
        yield looked("data", lambda: _data(context, party), "see: securefl data describe")
    for finding in look_at_broker(context, at):
        # What this machine finds of its own clock needs no other one.
        yield clock if finding.name == "clock" and not clock.fine else finding


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
    from securefl.federation.services.member_input import own_tables
    from securefl.tasks.registry import create_task

    assert context.name is not None
    tables = own_tables(context.config, context.name, party.data)
    prepared = create_task(context.config).prepare(tables, context.facts.content)
    return f"{len(tables.transactions)} transactions, {prepared.samples} training samples"
