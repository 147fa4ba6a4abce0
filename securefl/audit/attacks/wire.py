"""The view of an honest-but-curious coordinator in one round: all messages, and the sum."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from securefl.audit.attacks.ephemeral_ledger import ledger_context_in
from securefl.federation import messages as m
from securefl.federation.aggregation.session_parameters import agreed_format
from securefl.federation.runs.directory import RunDirectory
from securefl.federation.runs.loop import aggregator_of
from securefl.federation.runs.prepare import Prepared
from securefl.federation.runs.simulation import local_consortium, member_specs
from securefl.federation.transport.base import Delivery, Transport
from securefl.federation.transport.exchange import Exchange
from securefl.federation.transport.local import InProcess
from securefl_protocols.wire.codec import decode_body, open_envelope
from securefl_protocols.wire.messages import MaskedInput

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ObservedMessage:
    """The coordinator's view of one round.

    Attributes:
        updates: Vector as sent by each member, float64 [d]; a masked one is decoded as the signed
            integers that it would be without masks.
        words: Bytes of the masked vectors by member; empty in mode `plain`.
        mean: Mean change of the round, float64 [d].
    """

    updates: dict[str, Vector]
    words: dict[str, bytes]
    mean: Vector


class CuriousCoordinator:
    """A transport that records what members send, without changing it."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.clear: dict[str, Vector] = {}
        self.masked: dict[str, bytes] = {}

    def publish(self, party: str, message: bytes) -> None:
        """See `Transport.publish`."""
        self._inner.publish(party, message)

    def receive(self, timeout: float | None = None) -> Delivery:
        """See `Transport.receive`."""
        delivery = self._inner.receive(timeout)
        message = m.decode(delivery.message)
        if isinstance(message, m.Update):
            self.clear[delivery.sender] = m.unpack_vector(message.change).astype(np.float64)
        elif isinstance(message, m.Protocol):
            envelope = open_envelope(message.payload, largest=len(message.payload))
            if issubclass(envelope.kind, MaskedInput):
                vector = decode_body(envelope.kind, envelope.body).vector
                self.masked[delivery.sender] = bytes(vector)
        return delivery


def one_round(prepared: Prepared, path: Path) -> ObservedMessage:
    """Run the first round with real members, and return the coordinator's view.

    Args:
        prepared: The members' data; the configuration sets the aggregation mode.
        path: A new directory.
    """
    config = prepared.config
    directory = RunDirectory.create(path, config)
    consortium, identities = local_consortium(prepared)
    # The members get ledgers inside the attack's folder: attacking charges no real budget.
    context = ledger_context_in(path / "books")
    members = [
        replace(member, custody=context)
        for member in member_specs(prepared, directory, consortium, identities)
    ]
    names = tuple(member.name for member in members)
    aggregator = aggregator_of(consortium)
    with InProcess(members) as transport:
        observer = CuriousCoordinator(transport)
        Exchange(transport).ask_all(names, m.StartRun(since=0), m.Entries)
        result = aggregator.aggregate(Exchange(observer), 1, prepared.shared, names)
    dimension = len(prepared.shared)
    ring = agreed_format(config, len(names), len(names), dimension).encoding.ring
    read = {
        name: ring.unpack(data).view(ring.signed_dtype)[:dimension].astype(np.float64)
        for name, data in observer.masked.items()
    }
    return ObservedMessage({**observer.clear, **read}, observer.masked, result.change)
