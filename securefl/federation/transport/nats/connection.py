"""A synchronous NATS client of one party, over a thread with an event loop.

A message is sent until the broker has stored it, over as many connections as that takes; an
arriving message stays on the broker until it is acknowledged. This file knows no message's content.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from typing import Any, Self, TypeVar

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import SlowConsumerError

from securefl.errors import needs_extra
from securefl.federation.transport.base import EngineError
from securefl.federation.transport.faults import StandingFaults
from securefl.federation.transport.nats.broker_faults import code_of
from securefl.federation.transport.nats.chunking import Envelope, Reassembler
from securefl.federation.transport.nats.client import BrokerAddress, CarefulClient
from securefl.federation.transport.nats.complaints import Complaints
from securefl.federation.transport.nats.consumer import Arrival, Reader, reason
from securefl.federation.transport.nats.line import Line
from securefl.federation.transport.nats.listening import BeatListeners
from securefl.federation.transport.nats.quota import Quota
from securefl.federation.transport.nats.store_watch import purge
from securefl.federation.transport.nats.storing import Store
from securefl.federation.transport.nats.subjects import ACK_SECONDS
from securefl.federation.transport.session_keys import RunKeys

ResultT = TypeVar("ResultT")
Part = tuple[dict[str, str], bytes]
"""Headers and content of one NATS message."""
_BEAT_BYTES = 64 << 10
"""Heartbeats of one sender that wait to be read; one has some hundred bytes."""
_SENDINGS = 2
"""Of one message at a time."""


class NatsClient:
    """A party's connection, which reconnects by itself as long as it is open.

    Attributes:
        arrivals: Received messages, in order; an exception ends the connection.
        said_wrong: The broker's last complaints.
        faults: What is wrong with the broker now.
        line: Whether it answers now.
        inbox: Prefix of our reply subjects.
        readers: Of the senders that are read from.
    """

    def __init__(
        self,
        address: BrokerAddress,
        inbox: str,
        timeout: float = 10.0,
        faults: StandingFaults | None = None,
    ) -> None:
        """Connect.

        Args:
            address: The broker.
            inbox: Prefix of our reply subjects.
            timeout: Seconds within which the first connection has to succeed.
            faults: Is told what is wrong with the broker, also before the first connection.

        Raises:
            EngineError: If it does not; one line with the reason.
        """
        self.arrivals: queue.Queue[Arrival | Exception] = queue.Queue()
        self.said_wrong: deque[str] = deque(maxlen=16)
        self.faults = faults or StandingFaults()
        self._address, self.inbox = address, inbox
        self._claimed: dict[tuple[str, int, datetime], Msg] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._client = CarefulClient()
        self._complaints = Complaints()
        self._unstored = 0
        self.readers: list[Reader] = []
        self._sending: dict[tuple[str, str], deque[asyncio.Task[None]]] = {}
        self._store, self.line, self._beats = Store(self), Line(self), BeatListeners(self)
        self._closing = False
        try:
            self._run(self._connect(timeout))
        except BaseException:
            self.close()  # else its thread goes on trying
            raise

    @property
    def client(self) -> Client:
        """The library's client, for the code that creates streams; only inside `run`."""
        return self._client

    @property
    def connected(self) -> bool:
        """Whether the broker is reachable now."""
        return bool(self._client.is_connected)

    @property
    def stores(self) -> bool:
        """Whether the broker stores messages, as far as the coordinator has looked."""
        return not self.faults.code("streams")

    def run(self, work: Coroutine[Any, Any, ResultT], seconds: float = 30.0) -> ResultT:
        """Run work on the event loop and wait for it.

        Raises:
            EngineError: If it fails, or takes too long.
        """
        try:
            return self._run(work, seconds)
        except (NatsError, OSError, TimeoutError) as error:
            raise EngineError(f"the broker refused: {reason(error)}") from None

    def _run(self, work: Coroutine[Any, Any, ResultT], seconds: float | None = None) -> ResultT:
        future: Future[ResultT] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(seconds)

    async def _connect(self, timeout: float) -> None:
        """Connect within `timeout` seconds; the library alone would retry forever."""
        self._client = CarefulClient()
        try:
            await asyncio.wait_for(self._client.connect(**self._options()), timeout)
        except (NatsError, OSError, TimeoutError) as error:
            why = self._complaints.last or reason(error)
            self.faults.begin("connection", self.faults.code("connection") or code_of(error))
            raise EngineError(f"no connection to {self._address.url}: {why}") from None
        except ModuleNotFoundError as error:
            # nats-py imports what signs the broker's challenge only when it connects.
            raise needs_extra("nkeys", f"to log in with {error.name}") from None
        self._complaints.over()
        self.faults.end("connection")
        self.begin(self._claim_for_good())
        self.begin(self.line.watch())

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {
            "servers": [self._address.url],
            "inbox_prefix": self.inbox,
            "allow_reconnect": True,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": 0.25,
            "connect_timeout": 5,
            "ping_interval": 5,
            "max_outstanding_pings": 2,
            "pending_size": 64 << 20,
            "error_cb": self._on_error,
            "reconnected_cb": self._on_reconnected,
            "closed_cb": self._on_closed,
        }
        context = self._address.tls()
        if context is not None:
            # Before the broker's greeting: one that asks for no TLS would be answered in the clear,
            # with a signature that logs somebody else in.
            options |= {"tls": context, "tls_handshake_first": True}
        if self._address.login is not None:
            options["nkeys_seed_str"] = self._address.login.seed()
        return options

    async def _on_error(self, error: Exception) -> None:
        if isinstance(error, SlowConsumerError) and await self._beats.flooded(error.subject):
            return
        text = reason(error)
        self.said_wrong.append(text)
        self._complaints.say(text)
        code = code_of(error)
        # A line that breaks after a refusal says less than the refusal did.
        if not self.connected and (code != "lost" or not self.faults.code("connection")):
            self.faults.begin("connection", code)

    async def _on_reconnected(self) -> None:
        self._complaints.over()
        self.faults.end("connection")
        self.line.reconnected()
        for reader in self.readers:
            reader.reconnected()
        await self._store.reconnected()

    async def _on_closed(self) -> None:
        """End the process where the broker will not have us: the library tries no more."""
        if not self._closing:
            error = self._client.last_error or OSError("closed")
            self.faults.begin("connection", code_of(error))
            self.arrivals.put(EngineError(f"the broker ended the connection: {reason(error)}"))

    def send(self, subject: str, note: Envelope, keys: RunKeys) -> None:
        """Send a message in the background, until the broker has stored it.

        One that is said again is sent beside the first, and ends it the next time: a broker that
        stores nothing for long has no more of them wait.
        """
        self._unstored += 1
        parts, place = note.parts(keys), (subject, note.id)
        self._loop.call_soon_threadsafe(lambda: self._begin_sending(place, parts))

    def _begin_sending(self, place: tuple[str, str], parts: Iterator[Part]) -> None:
        sending = self._sending.setdefault(place, deque())
        if len(sending) == _SENDINGS:
            sending.popleft().cancel()
        sending.append(self.begin(self._store.send(place[0], parts)))
        sending[-1].add_done_callback(partial(self._sent, place))

    def _sent(self, place: tuple[str, str], task: asyncio.Task[None]) -> None:
        self._unstored -= 1
        sending = self._sending.get(place, deque())
        if task in sending:
            sending.remove(task)
            if not sending:
                del self._sending[place]

    def listen_for_beats(self, subject: str, heard: Callable[[Part], None], quota: Quota) -> None:
        """Call `heard` for every heartbeat of a sender; more than fit its buffer are strikes.

        One that is cut off is not listened to meanwhile.
        """
        self._run(self._beats.listen(subject, heard, quota))

    async def subscribed(
        self, subject: str, callback: Callable[[Msg], Coroutine[Any, Any, None]]
    ) -> Subscription:
        """Subscribe to short messages; more than fit a small buffer are dropped."""
        return await self._client.subscribe(subject, cb=callback, pending_bytes_limit=_BEAT_BYTES)

    def read(self, stream: str, consumer: str, sender: Reassembler, quota: Quota) -> None:
        """Put all messages of a consumer into `arrivals`.

        Args:
            stream: The stream.
            consumer: Our consumer there.
            sender: The one sender of its messages.
            quota: What it may send that is of no use.
        """
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        # A member may not, and cuts the coordinator off from nothing.
        empty = None if quota.most is None else partial(purge, self, stream)
        self.readers.append(Reader(self, subject, sender, quota, empty))
        self.spawn(self.readers[-1].pull())

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work on the event loop until the connection is closed."""
        self._run(self._spawned(work))

    async def _spawned(self, work: Coroutine[Any, Any, None]) -> None:
        self.begin(work)

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """As `spawn`, from the event loop itself."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.arrivals.put(EngineError(f"the connection failed: {reason(task.exception())}"))

    async def _claim_for_good(self) -> None:
        """Keep the broker from redelivering the messages that we are working on."""
        while True:
            await asyncio.sleep(ACK_SECONDS / 3)
            for message in list(self._claimed.values()):
                with contextlib.suppress(NatsError, OSError):
                    await message.in_progress()

    def claim(self, message: Msg) -> bool:
        """Claim a part until its message is acknowledged; return whether it was claimed before."""
        place = _place(message)
        again, self._claimed[place] = place in self._claimed, message
        return again

    def acknowledger(self, messages: list[Msg]) -> Callable[[], None]:
        """Return a call that acknowledges these parts in the background."""

        async def acknowledge() -> None:
            for message in messages:
                self._claimed.pop(_place(message), None)
                with contextlib.suppress(NatsError, OSError):
                    await message.ack()

        def schedule() -> None:
            asyncio.run_coroutine_threadsafe(acknowledge(), self._loop)

        return schedule

    def round_trip(self) -> float:
        """Return the seconds to the broker and back.

        Raises:
            EngineError: If it does not answer.
        """
        started = time.monotonic()
        self.run(self._client.flush(timeout=5))
        return time.monotonic() - started

    def flush(self, seconds: float = 5.0) -> bool:
        """Wait until the broker has stored what was sent, and return whether it has in time."""
        until = time.monotonic() + seconds
        while self._unstored and time.monotonic() < until:
            time.sleep(0.005)
        return not self._unstored

    def close(self) -> None:
        """End the connection and the thread."""
        self._closing = True
        with contextlib.suppress(Exception):
            self._run(self._close(), 5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        if not self._thread.is_alive():
            with contextlib.suppress(Exception):
                self._loop.run_until_complete(self._client.abandon())
            self._loop.close()

    async def _close(self) -> None:
        self.line.reconnected()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        del details
        self.close()


def _place(message: Msg) -> tuple[str, int, datetime]:
    """Return the stream of a stored message, its place there, and when it was stored."""
    # A stream that is made anew counts from 1 again: what has the place of an earlier message that
    # is not acknowledged yet would be taken for that one, and never be heard.
    stored = message.metadata
    return stored.stream, stored.sequence.stream, stored.timestamp
