"""A member's presence on the network: it is there, and heard of, before it can answer.

Reading tables and importing what trains takes seconds. Meanwhile a thread connects, takes the one
place of this member, and announces its key of the run: the others need not wait for that after.
What is asked in the meantime waits on the broker.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from securefl.federation.services.bootstrap import ConnectionContext
from securefl.federation.services.member_status import MemberWatch
from securefl.federation.transport.faults import StandingFaults
from securefl.federation.transport.flower.socket_link import SocketLink
from securefl.federation.transport.journalled import COORDINATOR_NAME, Run
from securefl.federation.transport.link import Link, Opening
from securefl.federation.transport.liveness import TROUBLES
from securefl.federation.transport.nats.chunking import Envelope, PeerKeyUnknownError, Reassembler
from securefl.federation.transport.nats.connection import NatsClient, Part
from securefl.federation.transport.nats.coordinator_watch import CoordinatorWatch
from securefl.federation.transport.nats.heartbeats import BEAT
from securefl.federation.transport.nats.lease import Lease
from securefl.federation.transport.nats.quota import Quota
from securefl.federation.transport.nats.subjects import LARGEST_MESSAGE, token
from securefl.federation.transport.session_keys import RunKeys

BEAT_SECONDS, _FIRST_BEATS = 2.0, 0.25
STARTING: Final = "starting"
"""What a member does before it can answer, in its heartbeats and its status."""


@dataclass
class Presence:
    """A member's end of the line: its one place, its heartbeats, and what is asked of it.

    Attributes:
        name: The member's name.
        keys: Its key of the run, and the coordinator's.
        run: The run.
        link: Its connection.
        watch: Hears of the coordinator.
        step: What the member does now; its heartbeats say it.
        leaving: Set when the connection shall end.
    """

    name: str
    keys: RunKeys = field(repr=False)
    run: Run
    link: Link
    watch: MemberWatch = field(default_factory=MemberWatch)
    step: str = "waiting"
    leaving: threading.Event = field(default_factory=threading.Event)
    _there: bool = False

    def appear(self) -> None:
        """Take the member's place, send heartbeats, and take questions into `link.arrivals`; once.

        Raises:
            EngineError: If another process has the place, or the broker does not answer.
        """
        if self._there:
            return
        self._there = True
        # A question may have a model, and what the whole cohort said.
        self._listen(
            Reassembler(
                self.keys, COORDINATOR_NAME, self.run.coordinator, lambda answers: LARGEST_MESSAGE
            )
        )

    def _listen(self, sender: Reassembler) -> None:
        """Begin to read what the coordinator sends; here from the broker."""
        layout, link = self.run.layout, cast("NatsClient", self.link)
        Lease(link, layout.lease(self.name)).take()
        # Without a limit: who cannot read the coordinator has nothing else to do.
        quota = Quota(COORDINATOR_NAME, most=None)
        link.read(layout.down(self.name), token(self.name), sender, quota)
        hub = CoordinatorWatch(link.faults, lambda: link.line.connected)
        self.watch.hears(hub)
        link.spawn(hub.beat(link, layout.beat(self.name), self._until_next_beat, self.said))

    def served(self, question: str) -> None:
        """Note that a question has been dealt with, whether or not it has an answer."""

    def _until_next_beat(self) -> float:
        """Return the seconds to the next heartbeat."""
        # Heartbeats announce our key, and nothing can be sent to us before: the first ones hurry.
        # So do those that say that the disk is full: until it is heard that there is room again,
        # each question is given up at once.
        troubled = self.step.encode() in TROUBLES
        unmet = self.keys.of(COORDINATOR_NAME) is None
        return _FIRST_BEATS if unmet or troubled else BEAT_SECONDS

    def said(self) -> Part:
        """Return a heartbeat: our key of the run, and our activity, sealed for the coordinator."""
        note = Envelope(self.name, COORDINATOR_NAME, BEAT, "", self.step.encode())
        try:
            return next(note.parts(self.keys))
        except PeerKeyUnknownError:
            return self.keys.headers, b""


class RelayedPresence(Presence):
    """The presence of a member whose questions come over a socket, from a SuperNode of Flower."""

    def _listen(self, sender: Reassembler) -> None:
        self._socket.listen(sender, self.keys)

    def served(self, question: str) -> None:
        """See `Presence.served`: the SuperNode waits no longer, also for what has no answer."""
        self._socket.settle(question)

    @property
    def _socket(self) -> SocketLink:
        return cast("SocketLink", self.link)


@dataclass(frozen=True)
class Carrier:
    """What carries a member's messages.

    Attributes:
        opening: Opens its connection; one to the agreed broker if not given.
        presence: What reads from that connection.
    """

    opening: Opening | None = None
    presence: type[Presence] = Presence


BROKER: Final = Carrier()


def relayed(path: Path) -> Carrier:
    """Return what carries the messages of a member with a SuperNode in the place of the broker.

    Args:
        path: The socket to make, which the SuperNode's `--node-config` names.
    """
    return Carrier(lambda faults: SocketLink(path, faults), RelayedPresence)


@contextmanager
def appearing(
    context: ConnectionContext,
    keys: RunKeys,
    watch: MemberWatch,
    faults: StandingFaults,
    carrier: Carrier = BROKER,
) -> Iterator[Future[Presence]]:
    """Connect and appear beside what the caller does; the connection ends with the block.

    Yields:
        The presence; its `result` raises an `EngineError` where there is none.
    """
    present: Future[Presence] = Future()
    leaving = threading.Event()
    opened = carrier.opening or (lambda faults: context.connected(faults=faults))

    def live() -> None:
        try:
            with opened(faults) as link:
                if leaving.is_set():
                    return  # the member could not be made meanwhile
                watch.joined(link)
                assert context.name is not None
                own = context.name, keys, context.run, link, watch, STARTING, leaving
                presence = carrier.presence(*own)
                presence.appear()
                present.set_result(presence)
                leaving.wait()
        except BaseException as error:
            if present.done():
                raise
            present.set_exception(error)

    # As a daemon: a member whose tables are wrong ends at once, also where no broker answers.
    thread = threading.Thread(target=live, name="presence", daemon=True)
    thread.start()
    try:
        yield present
    finally:
        leaving.set()
        if present.done():
            with contextlib.suppress(RuntimeError):
                thread.join(10)
