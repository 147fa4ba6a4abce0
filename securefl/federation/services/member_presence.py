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
from typing import Final

from securefl.federation.services.bootstrap import ConnectionContext
from securefl.federation.services.member_status import MemberWatch
from securefl.federation.transport.faults import StandingFaults
from securefl.federation.transport.nats.chunking import Envelope, PeerKeyUnknownError, Reassembler
from securefl.federation.transport.nats.connection import NatsClient, Part
from securefl.federation.transport.nats.coordinator_watch import CoordinatorWatch
from securefl.federation.transport.nats.heartbeats import BEAT
from securefl.federation.transport.nats.lease import Lease
from securefl.federation.transport.nats.quota import Quota
from securefl.federation.transport.nats.subjects import LARGEST_MESSAGE, token
from securefl.federation.transport.nats.transport import COORDINATOR_NAME, Run
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
    link: NatsClient
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
        layout, link = self.run.layout, self.link
        Lease(link, layout.lease(self.name)).take()
        # A question may have a model, and what the whole cohort said.
        sender = Reassembler(
            self.keys, COORDINATOR_NAME, self.run.coordinator, lambda answers: LARGEST_MESSAGE
        )
        # Without a limit: who cannot read the coordinator has nothing else to do.
        quota = Quota(COORDINATOR_NAME, most=None)
        link.read(layout.down(self.name), token(self.name), sender, quota)
        hub = CoordinatorWatch(link.faults, lambda: link.line.connected)
        self.watch.hears(hub)
        link.spawn(hub.beat(link, layout.beat(self.name), self._until_next_beat, self.said))

    def _until_next_beat(self) -> float:
        """Return the seconds to the next heartbeat."""
        # Heartbeats announce our key, and nothing can be sent to us before: the first ones hurry.
        return _FIRST_BEATS if self.keys.of(COORDINATOR_NAME) is None else BEAT_SECONDS

    def said(self) -> Part:
        """Return a heartbeat: our key of the run, and our activity, sealed for the coordinator."""
        note = Envelope(self.name, COORDINATOR_NAME, BEAT, "", self.step.encode())
        try:
            return next(note.parts(self.keys))
        except PeerKeyUnknownError:
            return self.keys.headers, b""


@contextmanager
def appearing(
    context: ConnectionContext, keys: RunKeys, watch: MemberWatch, faults: StandingFaults
) -> Iterator[Future[Presence]]:
    """Connect and appear beside what the caller does; the connection ends with the block.

    Yields:
        The presence; its `result` raises an `EngineError` where there is none.
    """
    present: Future[Presence] = Future()
    leaving = threading.Event()

    def live() -> None:
        try:
            with context.connected(faults=faults) as link:
                if leaving.is_set():
                    return  # the member could not be made meanwhile
                watch.joined(link)
                assert context.name is not None
                own = context.name, keys, context.run, link, watch, STARTING, leaving
                presence = Presence(*own)
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
