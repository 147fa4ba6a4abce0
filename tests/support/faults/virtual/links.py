"""The ends of a connection to the virtual broker, in the place of `NatsClient`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from securefl.federation.transport.nats.chunking import Envelope, Reassembler
from securefl.federation.transport.nats.connection import Part
from securefl.federation.transport.nats.consumer import Arrival
from securefl.federation.transport.nats.part_errors import BadPartError
from securefl.federation.transport.nats.quota import Quota
from securefl.federation.transport.nats.subjects import Layout
from securefl.federation.transport.session_keys import RunKeys
from support.faults.virtual.broker import Line, Reader, Stored, VirtualBroker
from support.faults.virtual.world import Arrivals


class _JetStream:
    """What the coordinator does with streams: it makes them, and purges what nobody read."""

    def __init__(self, broker: VirtualBroker) -> None:
        self._broker = broker

    async def add_stream(self, stream: object) -> None:
        del stream

    async def add_consumer(self, stream: str, consumer: object) -> None:
        del stream, consumer

    async def purge_stream(self, stream: str) -> None:
        """Delete all of a stream; each has one subject, which its name says (see `Layout`)."""
        for way, word in (("-down-", ".to."), ("-up-", ".from.")):
            consortium, found, party = stream.partition(way)
            if found:
                self._broker.purge(consortium.replace("-", ".", 1) + word + party)


class _Client:
    def __init__(self, broker: VirtualBroker) -> None:
        self._broker = broker

    def jetstream(self) -> _JetStream:
        return _JetStream(self._broker)


class VirtualLink:
    """A party's connection.

    Attributes:
        arrivals: See `NatsClient`.
        client: Stands in for the library's client.
        line: The way to the broker.
    """

    def __init__(self, broker: VirtualBroker, line: Line, layout: Layout) -> None:
        self.broker, self.line, self._layout = broker, line, layout
        self.arrivals = Arrivals(broker.world)
        self.client = _Client(broker)
        self._reading: list[tuple[str, Reader]] = []
        self.beats: dict[str, Callable[[Part], None]] = {}

    @property
    def connected(self) -> bool:
        """Whether the broker is reachable now."""
        return self.broker.reachable(self.line)

    @property
    def stores(self) -> bool:
        """Whether the broker stores messages: it always does."""
        return True

    def run(self, work: Coroutine[Any, Any, Any], seconds: float = 30.0) -> None:
        """Run work that waits for nothing."""
        del seconds
        try:
            work.send(None)
        except StopIteration:
            return
        raise AssertionError("work on the virtual broker waits for nothing")

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run no work for good: what goes on by itself is an event of the world."""
        work.close()

    def send(self, subject: str, note: Envelope, keys: RunKeys) -> None:
        """See `NatsClient.send`."""
        for part in note.parts(keys):
            self.broker.publish(subject, part, self.line)

    def read(self, stream: str, consumer: str, sender: Reassembler, quota: Quota) -> None:
        """See `NatsClient.read`; here it is the coordinator that reads a member's messages."""
        del stream
        subject = self._layout.from_member(consumer)
        self.read_subject(subject, sender, quota, self.arrivals.put)

    def read_subject(
        self, subject: str, sender: Reassembler, quota: Quota, arrived: Callable[[Arrival], None]
    ) -> None:
        """Hand on what arrives on a subject; what cannot be opened is a strike, as in `Reader`."""

        def take(stored: Stored) -> None:
            def acknowledge() -> None:
                self.broker.acknowledge(subject, stored, self.line)

            try:
                note = sender.add(*stored.part)
            except BadPartError as error:
                acknowledge()
                quota.strike(f"{error}; it is dropped")
                return
            assert note is not None, "messages of a test are of one part"
            arrived(Arrival(note, acknowledge))

        reader = Reader(self.line, take)
        self._reading.append((subject, reader))
        self.broker.read(subject, reader)

    def listen_for_beats(self, subject: str, heard: Callable[[Part], None], quota: Quota) -> None:
        """See `NatsClient.listen_for_beats`."""
        del quota
        self.beats[subject] = heard

    def flush(self, seconds: float = 5.0) -> bool:
        """Let what was sent arrive."""
        self.broker.world.advance(seconds)
        return True

    def close(self) -> None:
        """Read no more."""
        for subject, reader in self._reading:
            self.broker.leave(subject, reader)
        self._reading.clear()
        self.beats.clear()
