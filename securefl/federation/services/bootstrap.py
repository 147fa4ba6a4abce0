"""From an agreement and a key to a connection: our name, the run's id, the broker's address."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from securefl.config.schema import ReferenceSettings, RunConfig
from securefl.consortium.agreement.context import Consortium
from securefl.consortium.agreement.signatures import AgreementStatus, SignedAgreement
from securefl.consortium.agreement.storage import read_signed
from securefl.consortium.keys.nkeys import BrokerKey
from securefl.consortium.ledger.policy import Policy
from securefl.errors import AgreementError
from securefl.federation.services.admission import admit
from securefl.federation.services.facts_file import Facts, open_facts
from securefl.federation.transport.faults import StandingFaults
from securefl.federation.transport.journalled import Run
from securefl.federation.transport.nats.broker_config import broker_id
from securefl.federation.transport.nats.client import BrokerAddress
from securefl.federation.transport.nats.connection import NatsClient
from securefl.federation.transport.nats.subjects import Layout
from securefl_protocols.primitives.signing import SigningKey
from securefl_protocols.wire.context import labelled_digest

RUN_LABEL = b"securefl/1/run"


@dataclass(frozen=True)
class ConnectionContext:
    """A run of a consortium, as one of its parties enters it.

    Attributes:
        signed: The agreement.
        standing: The members now.
        facts: The agreed public metadata.
        key: Our identity key.
        name: Our name; None for the coordinator.
        run: The run.
        number: Which run of the agreed schedule it is; 1 without a schedule.
        before: Id of the run before it in the schedule; None where there is none, or its facts are
            not here.
    """

    signed: SignedAgreement
    standing: AgreementStatus
    facts: Facts
    key: SigningKey = field(repr=False)
    name: str | None
    run: Run
    number: int = 1
    before: bytes | None = None

    @property
    def consortium(self) -> Consortium:
        """The consortium of the run, the input of every session."""
        return Consortium(self.signed, self.run.id)

    @property
    def config(self) -> RunConfig:
        """The agreed configuration of this run, without baselines, which may need all tables.

        A member that trains alone, for figures of its own, does so with the agreed settings, as on
        one machine.
        """
        config = self.signed.agreement.config
        training = config.training
        off = ReferenceSettings(enabled=False, alone=training, pooled=training)
        return config.scheduled(self.number).model_copy(update={"references": off})

    @property
    def port(self) -> int:
        """The broker's port."""
        broker = self.signed.agreement.broker
        assert broker is not None
        return int(broker.url.rpartition(":")[2])

    @contextmanager
    def connected(
        self, timeout: float = 60.0, faults: StandingFaults | None = None
    ) -> Iterator[NatsClient]:
        """Our connection.

        Args:
            timeout: Seconds within which the first connection has to succeed.
            faults: Is told what is wrong with the broker.

        Raises:
            EngineError: If the broker cannot be reached, or rejects our login.
        """
        broker = self.signed.agreement.broker
        assert broker is not None
        with tempfile.TemporaryDirectory() as folder:
            authority = Path(folder) / "ca.pem"
            authority.write_text(broker.authority, encoding="utf-8")
            address = BrokerAddress(broker.url, authority, BrokerKey(self.key))
            inbox = self.run.layout.inbox(self.name or "coordinator")
            with NatsClient(address, inbox, timeout, faults) as link:
                yield link


def connection_context(
    agreement: Path,
    key: SigningKey,
    facts: Path,
    run: str,
    *,
    policy: Policy | None = None,
    at: datetime | None = None,
    broker: bool = True,
) -> ConnectionContext:
    """Read the agreement and the facts, and find our role by our key.

    Args:
        agreement: The agreement's file, next to its signatures and statements.
        key: Our identity key.
        facts: The file with the agreed facts; or, for a schedule, a folder with those of each run.
        run: This run's name; one agreement can have several runs.
        policy: A member's own policy.
        at: The time; now if not given.
        broker: Whether the agreement has to name a broker; not where something else carries the
            messages.

    Raises:
        AgreementError: If the agreement is not in force, or the key belongs to no party of it.
        InputError: If the facts cannot be read.
    """
    signed, now = read_signed(agreement), at or datetime.now(UTC)
    standing = admit(signed, now)
    name = _name_of(signed, standing, key)
    if name is not None:
        standing = admit(signed, now, member=name, policy=policy)
    coordinator, lacks_broker = signed.agreement.coordinator, signed.agreement.broker is None
    if coordinator is None:
        raise AgreementError(f"{agreement} names no coordinator: it is of one machine")
    if broker and lacks_broker:
        raise AgreementError(f"{agreement} names no broker: it is of one machine, or over Flower")
    schedule = signed.agreement.config.schedule
    number = 1 if schedule is None else schedule.number(run)
    agreed = open_facts(facts_of_run(facts, run))
    names = Run(
        id=_run_id(standing, agreed, run),
        layout=Layout(broker_id(standing)),
        members={member.name: member.public for member in standing.members},
        coordinator=coordinator.public,
    )
    before = _run_before(standing, facts, number)
    return ConnectionContext(signed, standing, agreed, key, name, names, number, before)


def facts_of_run(facts: Path, run: str) -> Path:
    """Return the file with the facts of a run: the given one, or the run's in the given folder."""
    return facts / run if facts.is_dir() else facts


def _run_id(standing: AgreementStatus, facts: Facts, run: str) -> bytes:
    # It covers agreement, facts and name: parties that differ in one of them share no run, and so
    # no key and no subject, instead of training on different vocabularies.
    return labelled_digest(RUN_LABEL, standing.digest, facts.digest, run.encode())


def _run_before(standing: AgreementStatus, facts: Path, number: int) -> bytes | None:
    place = facts / str(number - 1)
    if number == 1 or not place.is_file():
        return None
    return _run_id(standing, open_facts(place), place.name)


def _name_of(signed: SignedAgreement, standing: AgreementStatus, key: SigningKey) -> str | None:
    coordinator = signed.agreement.coordinator
    if coordinator is not None and coordinator.public == key.public:
        return None
    for member in standing.members:
        if member.public == key.public:
            return member.name
    raise AgreementError("the key is neither a member's nor the coordinator's in this agreement")
