"""Simulated dropouts: members that vanish in the middle of a round, over any transport."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from securefl.config.schema import Dropout
from securefl.federation import messages as m
from securefl.federation.transport.base import Delivery, OpenTransport
from securefl_protocols.session.dropouts import COLLECTED_IN, ServerStep
from securefl_protocols.wire.codec import open_envelope

_STEPS = {
    "keys": ServerStep.ADVERTISE,
    "shares": ServerStep.SHARE,
    "masked-input": ServerStep.MASK,
    "consistency": ServerStep.CONSISTENCY,
    "unmask": ServerStep.UNMASK,
}


class WithDropouts:
    """A transport that drops a member's messages from one step of a round to the round's end."""

    def __init__(self, inner: OpenTransport, dropouts: Sequence[Dropout]) -> None:
        self._inner = inner
        self._planned = {(d.member, d.round): _STEPS[d.step] for d in dropouts}

    def publish(self, party: str, message: bytes) -> None:
        """See `Transport.publish`."""
        self._inner.publish(party, message)

    def receive(self, timeout: float | None = None) -> Delivery:
        """See `Transport.receive`; a dropped message arrives as `Absent`."""
        delivery = self._inner.receive(timeout)
        message = m.decode(delivery.message)
        if isinstance(message, m.Protocol | m.Update):
            gone_from = self._planned.get((delivery.sender, message.round), ServerStep.CLOSED)
            if _step_of(message) >= gone_from:
                return Delivery(delivery.sender, m.encode(m.Absent()))
        return delivery

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._inner.__exit__(*details)


def _step_of(message: m.Protocol | m.Update) -> ServerStep:
    """Return the protocol's step; an update in the clear counts as a masked input."""
    if isinstance(message, m.Update):
        return ServerStep.MASK
    return COLLECTED_IN[open_envelope(message.payload, largest=len(message.payload)).kind]
